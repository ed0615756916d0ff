"""Overlap of context and answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.copying import copying_scores, jaccard, longest_span, summary
from copsd_bench.collapse.text import words
from copsd_bench.constitution import load_constitution
from tests.collapse.rollouts import rows

Text = st.lists(st.sampled_from(["sea", "salt", "rock", "rain", "wind"]), max_size=12).map(" ".join)


def naive_span(a: list[str], b: list[str]) -> int:
    runs = [n for i in range(len(a)) for j in range(len(b)) for n in range(min(len(a) - i, len(b) - j) + 1)
            if a[i : i + n] == b[j : j + n]]  # fmt: skip
    return max(runs, default=0)


@given(Text, Text)
def test_the_longest_span_is_that_of_all_pairs_of_places(context: str, answer: str) -> None:
    assert longest_span(context, answer) == naive_span(words(context), words(answer))


@given(Text, Text)
def test_jaccard_is_symmetric_and_a_fraction(context: str, answer: str) -> None:
    found = jaccard(context, answer)
    assert (found is None) == (not words(answer))
    if found is not None and words(context):
        assert found == jaccard(answer, context)
        assert 0 <= found <= 1


def test_reciting_the_constitution_shows_in_both_and_an_answer_of_its_own_in_neither() -> None:
    text = load_constitution("default").body()
    middle = " ".join(words(text)[20:60])
    assert longest_span(text, f"Sure! {middle.upper()}.") == 40
    own = copying_scores(text, "Salt water freezes at a lower temperature than fresh water does.")
    assert own["longest_span"] is not None
    assert own["longest_span"] < 5
    assert (jaccard(text, middle) or 0) > 3 * (own["jaccard"] or 0)


def test_an_answer_without_words_has_no_overlap_to_speak_of() -> None:
    assert copying_scores("be kind", "...") == {"jaccard": None, "longest_span": 0.0}


def test_the_change_is_paired_on_prompts() -> None:
    def answers(*values: float) -> list[dict[str, object]]:
        return [{"scores": {"jaccard": value, "longest_span": 10 * value}} for value in values]

    found = summary(
        rows(
            {"harmful-1": answers(0.2, 0.4), "benign-1": answers(0.5)},
            {"harmful-1": answers(0.1), "benign-1": answers(0.3)},
        )
    ).metrics
    assert found["jaccard_change"].value == pytest.approx((0.2 + 0.2) / 2)
    assert found["longest_span_change"].unit == "words"
