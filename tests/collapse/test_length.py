"""Kinds of length, and what a cut answer can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.length import LONGEST, is_kind, summary
from tests.collapse.rollouts import rows


@given(st.integers(0, 5000))
def test_a_whole_answer_is_of_exactly_one_kind(tokens: int) -> None:
    assert [is_kind(kind, tokens, False) for kind in LONGEST].count(True) == 1


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_cut_answer_is_called_nothing_that_its_whole_would_not_be(cut: int, rest: int) -> None:
    for kind in LONGEST:
        found = is_kind(kind, cut, True)
        assert found is None or found == is_kind(kind, cut + rest, False)


def test_the_limits_belong_to_the_shorter_kind_and_an_unknown_length_to_none() -> None:
    assert [is_kind(kind, 30, False) for kind in LONGEST] == [True, False, False, False]
    assert [is_kind(kind, 31, False) for kind in LONGEST] == [False, True, False, False]
    assert [is_kind(kind, 401, True) for kind in LONGEST] == [False, False, False, True]
    assert [is_kind(kind, None, False) for kind in LONGEST] == [None] * 4


def _answers(*tokens: int) -> list[dict[str, object]]:
    return [{"output_tokens": n, "truncated": False, "scores": {"empty": float(n == 1)}} for n in tokens]


def test_ratios_are_paired_on_prompts_and_given_by_class() -> None:
    found = summary(
        rows(
            {"harmful-1": _answers(5, 15), "benign-1": _answers(20, 20), "benign-2": _answers(100, 100)},
            {"harmful-1": _answers(20, 20), "benign-1": _answers(40, 40), "benign-2": _answers(200, 200)},
        )
    ).metrics
    assert found["length_ratio"].value == pytest.approx(0.5)
    assert found["length_ratio/harmful"].value == pytest.approx(10 / 20)
    assert (found["length_ratio/benign"].low, found["length_ratio/benign"].high) == pytest.approx((0.5, 0.5))
    assert (found["short"].value, found["explanation"].value) == pytest.approx((4 / 6, 2 / 6))
    assert found["tokens"].unit == "tokens"
    assert found["median_ratio"].value == pytest.approx(20 / 40)


def test_empty_answers_are_counted_and_named() -> None:
    found = summary(rows({"benign-1": _answers(1, 9)}, {"benign-1": _answers(9, 9)}))
    assert found.metrics["empty"].value == 0.5
    assert any("1 of 2 answers of the model say nothing" in note for note in found.notes)
