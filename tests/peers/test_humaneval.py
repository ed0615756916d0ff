"""HumanEval sends what inspect-evals' task sends, and its programs pass and fail as there."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from copsd_bench.benchmarks.text.humaneval import humaneval
from copsd_bench.records.build import task_record
from copsd_bench.sources.loader import load_records
from tests.peers.replay import Messages, evaluated, local_hub, replaying

peer = importlib.import_module("inspect_evals.humaneval.humaneval")
COUNT = 24
FORMS = [
    "{body}",
    "```python\n{prompt}{body}```",
    "Here it is:\n```\n{prompt}{body}```\nIt works.",
    "```python\n{body}```",
    "    return None",
    "```py\n{prompt}    raise ValueError\n```",
    "I cannot help with that.",
    "",
]


def test_messages_and_verdicts_are_those_of_inspect_evals(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The peer runs `python` in Inspect's local sandbox; its programs are the set's own solutions and our wrong ones.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    records = load_records("humaneval").records[:COUNT]
    monkeypatch.setattr(peer, "hf_dataset", local_hub({"test": records}))
    answers = {
        record["prompt"]: FORMS[i % len(FORMS)]
        .replace("{prompt}", record["prompt"])
        .replace("{body}", record["canonical_solution"])
        for i, record in enumerate(records)
    }

    def answer(text: str) -> str:
        return next(given for prompt, given in answers.items() if prompt in text)

    sent: dict[str, list[Messages]] = {"ours": [], "theirs": []}
    ours = evaluated(humaneval(sandbox="local"), replaying(answer, sent["ours"]), tmp_path / "ours", limit=COUNT)
    theirs = evaluated(peer.humaneval(sandbox="local"), replaying(answer, sent["theirs"]), tmp_path / "theirs")
    assert sent["ours"] == sent["theirs"]
    verdicts = {str(s.id): s.scores["verify"].value == "C" for s in theirs.samples or [] if s.scores}
    assert {row.id: row.scores["pass@1"] == 1 for row in task_record(ours, 0).samples} == verdicts
    assert 3 <= sum(verdicts.values()) <= COUNT - 3
