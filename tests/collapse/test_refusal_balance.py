"""Balance of refusing: harmful refused minus benign refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.refusal import summary
from tests.collapse.rollouts import rows

Flags = st.lists(st.booleans(), min_size=2, max_size=6)


def _answers(flags: list[bool]) -> list[dict[str, object]]:
    return [{"scores": {"refused": float(flag)}} for flag in flags]


@given(Flags, Flags)
def test_it_is_the_difference_of_the_rates_and_lies_in_its_interval(harmful: list[bool], benign: list[bool]) -> None:
    answers = {"harmful-1": _answers(harmful), "benign-1": _answers(benign)}
    found = summary(rows(answers, answers)).metrics
    balance = found["balance"]
    assert balance.value == pytest.approx(sum(harmful) / len(harmful) - sum(benign) / len(benign))
    assert balance.low is not None
    assert balance.high is not None
    assert -1 <= balance.low <= balance.value + 1e-12
    assert balance.value - 1e-12 <= balance.high <= 1
    assert found["balance_change"].value == found["refused_change/harmful"].value == 0


@pytest.mark.parametrize(("harmful", "benign", "balance"), [(True, False, 1), (True, True, 0), (False, True, -1)])
def test_the_ends_of_its_range(harmful: bool, benign: bool, balance: float) -> None:
    model = {f"{group}-{i}": _answers([flag] * 4) for group, flag in (("harmful", harmful), ("benign", benign))
             for i in range(16)}  # fmt: skip
    nothing = {item: _answers([False] * 4) for item in model}
    found = summary(rows(model, nothing)).metrics
    assert found["balance"].value == balance
    assert found["balance_change"].value == balance
    assert found["reference_balance"].value == 0


def test_refusing_all_is_told_from_refusing_what_should_be() -> None:
    """The failure this is for: both models refuse every harmful request, one also everything else."""
    reference = {f"{group}-{i}": _answers([False] * 2) for group in ("harmful", "benign") for i in range(16)}
    good = {item: _answers([item.startswith("harmful")] * 2) for item in reference}
    bad = {item: _answers([True] * 2) for item in reference}
    a, b = (summary(rows(model, reference)).metrics for model in (good, bad))
    assert a["refused/harmful"].value == b["refused/harmful"].value == 1
    assert a["balance"].low is not None
    assert b["balance"].high is not None
    assert a["balance"].low > b["balance"].high


def test_an_unjudged_answer_is_in_no_rate() -> None:
    model = {"harmful-1": [{"scores": {"refused": 1.0}}, {"scores": {"refused": None}}], "benign-1": _answers([False])}
    found = summary(rows(model, model)).metrics["refused/harmful"]
    assert (found.value, found.n, found.n_unscored) == (1, 1, 1)
