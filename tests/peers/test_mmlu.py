"""MMLU sends what inspect-evals' 0-shot task sends, and judges as it does."""

import importlib
from pathlib import Path

import pytest
from inspect_ai.dataset import MemoryDataset

from copsd_bench.benchmarks.text.mmlu import mmlu
from copsd_bench.records.build import task_record
from copsd_bench.sources.loader import load_subsets
from tests.peers.replay import Messages, evaluated, local_hub, replaying

# By name: the package gives functions of its own in place of its module.
peer = importlib.import_module("inspect_evals.mmlu.mmlu")
COUNT = 24
FORMS = [
    "ANSWER: {x}", "**ANSWER: {x}**", "The answer is {x}", "ANSWER: {x}. Because", "answer: {x}", "ANSWER: E", "{x}",
    "ANSWER: {x}\nANSWER: A", "",
]  # fmt: skip


def test_messages_and_verdicts_are_those_of_inspect_evals(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = mmlu()
    chosen = list(ours.dataset)[:COUNT]
    wanted = {sample.input for sample in chosen}
    records = [
        {**record, "subject": record["subset"]}
        for record in load_subsets("mmlu").records
        if record["question"] in wanted
    ]
    monkeypatch.setattr(peer, "hf_dataset", local_hub({"test": records}))
    theirs = peer.mmlu_0_shot(shuffle=False)
    by_id = {str(sample.id): sample for sample in theirs.dataset}
    theirs.dataset = MemoryDataset([by_id[str(sample.id)] for sample in chosen])
    golds = {str(sample.input): str(sample.target) for sample in chosen}
    forms = {question: FORMS[i % len(FORMS)].replace("{x}", x) for i, (question, x) in enumerate(golds.items())}

    def answer(text: str) -> str:
        return next(form for question, form in forms.items() if question in text)

    sent: dict[str, list[Messages]] = {"ours": [], "theirs": []}
    record = task_record(evaluated(ours, replaying(answer, sent["ours"]), tmp_path / "ours", limit=COUNT), 0)
    log = evaluated(theirs, replaying(answer, sent["theirs"]), tmp_path / "theirs")
    assert sent["ours"] == sent["theirs"]
    verdicts = {str(s.id): s.scores["choice"].value == "C" for s in log.samples or [] if s.scores}
    assert {row.id: row.scores["accuracy"] == 1 for row in record.samples} == verdicts
    assert len({row.tags["category"] for row in record.samples}) == COUNT, "a limit is balanced over subjects"
    assert 3 <= sum(verdicts.values()) <= COUNT - 3
