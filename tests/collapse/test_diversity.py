"""Diversity of a prompt's rollouts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.diversity import distinct, rollout_scores, self_bleu, summary
from copsd_bench.collapse.embedding import distances, mean_distances
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from tests.collapse.rollouts import rows

Texts = st.lists(st.text(alphabet="abc .", max_size=30), min_size=2, max_size=5)
SEA = "The sea is salty because rivers carry minerals from the rocks."
BREAD = "Mix flour, water, yeast and a pinch of sugar, then wait an hour."


@given(Texts, st.randoms())
def test_it_does_not_depend_on_the_order_of_rollouts_and_is_a_fraction(texts: list[str], random: object) -> None:
    order = np.random.default_rng(0).permutation(len(texts))
    found, shuffled = self_bleu(texts), self_bleu([texts[i] for i in order])
    assert [found[i] for i in order] == pytest.approx(shuffled, nan_ok=True) or None in found
    assert all(score is None or 0 <= score <= 1 for score in found)


def test_copies_have_no_diversity_and_unlike_texts_nearly_all_of_it() -> None:
    assert self_bleu([SEA, SEA, SEA]) == [1.0, 1.0, 1.0]
    assert max(score or 0 for score in self_bleu([SEA, BREAD])) < 0.1


def test_one_copy_more_lowers_the_diversity_of_all() -> None:
    before, after = self_bleu([SEA, BREAD, "Rain."]), self_bleu([SEA, BREAD, SEA])
    assert sum(x or 0 for x in after) > sum(x or 0 for x in before)


def test_empty_answers_are_unscored_not_diverse() -> None:
    """Against an empty text every BLEU is 0, which would read as perfect diversity."""
    assert self_bleu(["", SEA, SEA]) == [None, 1.0, 1.0]
    assert self_bleu(["", " ...", SEA]) == [None, None, None]
    assert rollout_scores(["", ""])[0] == {
        "diversity": None,
        "distinct_1": None,
        "distinct_2": None,
        "distinct_3": None,
    }


def test_one_rollout_is_refused() -> None:
    with pytest.raises(CopsdError, match="--rollouts 2 or more"):
        self_bleu([SEA])


def test_distinct_counts_over_all_rollouts_of_the_prompt() -> None:
    assert distinct(["a b a", "a b"], 1) == 2 / 5
    assert distinct(["a b a", "a b"], 2) == 2 / 3  # no pair across two answers
    assert distinct(["a", ""], 2) is None


def test_the_ratio_is_that_of_means_and_a_prompt_counts_once_for_distinct_n() -> None:
    def answers(texts: list[str]) -> list[dict[str, object]]:
        return [{"scores": scores} for scores in rollout_scores(texts)]

    found = summary(
        rows({"benign-1": answers([SEA, SEA, BREAD])}, {"benign-1": answers([SEA, BREAD, "Rain falls from clouds."])})
    ).metrics
    assert (found["diversity"].n, found["distinct_2"].n) == (3, 1)
    assert found["diversity"].value is not None
    assert found["reference_diversity"].value is not None
    assert found["diversity_ratio"].value == pytest.approx(
        found["diversity"].value / found["reference_diversity"].value
    )
    assert found["diversity_ratio"].value < 1


def test_distances_are_cosine_distances_to_the_others() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert mean_distances(vectors) == pytest.approx([1.5, 1.0, 1.5])


def test_an_encoder_puts_copies_at_distance_nought(smollm2: ResolvedModel) -> None:
    same, other, again = distances([SEA, BREAD, SEA], str(smollm2.path))
    assert same == pytest.approx(again, abs=1e-6)
    assert 0 < same < other
    assert Path(smollm2.path).is_dir()
