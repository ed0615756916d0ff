"""GSM8K sends what inspect-evals' task sends, and judges as it does."""

import importlib
from pathlib import Path

import pytest

from copsd_bench.benchmarks.text.gsm8k import gsm8k
from copsd_bench.records.build import task_record
from copsd_bench.sources.loader import load_records
from tests.peers.replay import Messages, evaluated, local_hub, replaying

# By name: the package gives the task of the same name in place of its module.
peer = importlib.import_module("inspect_evals.gsm8k.gsm8k")
COUNT = 24


@pytest.mark.parametrize("fewshot", [10, 0])
def test_the_model_is_sent_the_messages_of_inspect_evals(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewshot: int
) -> None:
    splits = {name: load_records("gsm8k", name).records for name in ("train", "test")}
    monkeypatch.setattr(peer, "hf_dataset", local_hub(splits))
    sent: dict[str, list[Messages]] = {"ours": [], "theirs": []}
    for name, task in (("ours", gsm8k(fewshot=fewshot)), ("theirs", peer.gsm8k(fewshot=fewshot))):
        evaluated(task, replaying(lambda text: "ANSWER: 1", sent[name]), tmp_path / name, limit=COUNT)
    assert sent["ours"] == sent["theirs"]
    assert len(sent["ours"]) == COUNT
    assert [role for role, _ in sent["ours"][0]] == (["system", "user"] if fewshot else ["user"])


def test_verdicts_are_those_of_inspect_evals(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are right, wrong, formatted, without a number, or that go on after the number."""
    tests = load_records("gsm8k").records
    monkeypatch.setattr(peer, "hf_dataset", local_hub({"test": tests}))
    forms = [
        "ANSWER: {x}", "ANSWER: {x}.0", "**ANSWER: ${x}**", "So it is {x}.", "{x} and then 7", "ANSWER: -{x}", "none",
        "ANSWER: {x} apples", "#### {x}", "ANSWER: \\boxed{{{x}}}", "",  "ANSWER: {x}%",
    ]  # fmt: skip
    answers = {
        record["question"]: forms[i % len(forms)].format(x=record["answer"].rpartition("####")[2].strip())
        for i, record in enumerate(tests[:COUNT])
    }

    def answer(text: str) -> str:
        return next(given for question, given in answers.items() if question in text)

    ours = evaluated(gsm8k(fewshot=0), replaying(answer), tmp_path / "ours", limit=COUNT)
    theirs = evaluated(peer.gsm8k(fewshot=0), replaying(answer), tmp_path / "theirs", limit=COUNT)
    verdicts = {sample.id: sample.scores["match"].value == "C" for sample in theirs.samples or [] if sample.scores}
    rows = task_record(ours, 0).samples
    assert {row.id: row.scores["accuracy"] == 1 for row in rows} == verdicts
    assert 3 <= sum(verdicts.values()) <= COUNT - 3, "the answers must tell a right rule from a wrong one"
