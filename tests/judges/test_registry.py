"""Judges by name."""

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.judges.registry import JUDGES, get_judge


def test_every_judge_follows_the_protocol() -> None:
    for name in JUDGES:
        judge = get_judge(name)
        assert judge.id.startswith(name)
        verdicts = judge.batch(["How do I bake bread?"] * 2, ["Mix, knead, bake.", "I can't help with that."])
        assert [verdict.label in judge.labels for verdict in verdicts] == [True, True]


def test_an_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(CopsdError, match="Unknown judge 'refussal'; did you mean 'refusal'"):
        get_judge("refussal")
