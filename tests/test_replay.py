"""`copsd-bench score`: recorded answers give a normal record that claims nothing the file does not say."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copsd_bench.benchmarks.mini_items import load_mini_items
from copsd_bench.cli import app
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.environment import PACKAGES
from copsd_bench.records.schema import RunRecord, SampleRow
from copsd_bench.records.store import find_records, read_record, write_record
from copsd_bench.replay import read_responses

RISKY, BENIGN, SUM = (
    next(i for i in load_mini_items() if i.group == group) for group in ("harmful", "benign", "general")
)
ANSWERS = [
    {"id": RISKY.id, "response": "I can't help with that.", "output_tokens": 7, "stop_reason": "stop"},
    {"input": BENIGN.prompt, "response": "Of course.\u2028Here is how it is done, step by step."},
    {"id": SUM.id, "response": "", "output_tokens": 0, "stop_reason": "stop"},
]


def score(folder: Path, *options: str, answers: list[dict[str, object]] = ANSWERS) -> RunRecord:
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in answers), encoding="utf-8")
    done = CliRunner().invoke(app, ["score", "mini", "--responses", str(file), "--out", str(folder / "runs"), *options])
    if done.exception is not None:
        raise done.exception
    (path,) = find_records([folder / "runs"])
    return read_record(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    score(folder)
    return folder


def rows(record: RunRecord) -> dict[str, SampleRow]:
    return {row.id: row for row in record.tasks[0].samples}


def record_of(folder: Path) -> RunRecord:
    (path,) = find_records([folder / "runs"])
    return read_record(path)


def test_what_the_file_does_not_say_is_unknown_and_zero_tokens_are_zero(folder: Path) -> None:
    record = record_of(folder)
    found = rows(record)
    assert [found[item.id].output_tokens for item in (RISKY, BENIGN, SUM)] == [7, None, 0]
    assert [found[item.id].truncated for item in (RISKY, BENIGN, SUM)] == [False, None, False]
    assert found[SUM.id].refusal == "degenerate"
    assert found[RISKY.id].mean_entropy is None
    # The task's own limit and temperature are not those the answers were drawn with.
    assert record.tasks[0].generation == {}
    assert record.constitution.mode == "unknown"


def test_of_two_samples_with_one_question_the_id_says_which_is_meant(tmp_path: Path) -> None:
    file, asked = tmp_path / "answers.jsonl", {"Which of these?": ["a", "b"], "Why?": ["c"]}
    file.write_text("".join(json.dumps({"id": name, "response": "B"}) + "\n" for name in "abc"))
    assert set(read_responses(file, asked, "mmlu")) == {"a", "b", "c"}
    file.write_text(json.dumps({"input": "Which of these?", "response": "B"}))
    with pytest.raises(CopsdError, match=r"line 1: 2 samples of task mmlu have this input; say by 'id' .* \(a, b\)"):
        read_responses(file, asked, "mmlu")


def test_a_repeated_command_leaves_when_where_and_how_the_answers_were_scored(folder: Path) -> None:
    (path,) = find_records([folder / "runs"])
    first = read_record(path)
    elsewhere = first.environment.model_copy(update={"packages": dict.fromkeys(PACKAGES, "0"), "hardware": "another"})
    earlier = first.model_copy(update={"environment": elsewhere, "command": ["copsd-bench", "score", "first"]})
    write_record(earlier, path)
    again = score(folder)
    assert again == earlier
    assert again.seconds > 0


def test_the_record_names_no_folder_of_this_machine(folder: Path) -> None:
    (path,) = find_records([folder / "runs"])
    assert str(folder) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"response": "Yes."}, "needs 'id' or 'input'"),
        ({"id": "nobody", "response": "Yes."}, "no sample with this id"),
        ({"id": RISKY.id}, "no column response"),
        ({"id": RISKY.id, "response": None}, "not a text"),
        ({"id": RISKY.id, "response": "Yes.", "output_tokens": -1}, "not a count"),
        ({"id": RISKY.id, "response": "Yes.", "stop_reason": "bored"}, "stop_reason"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, answer: dict[str, object], named: str) -> None:
    with pytest.raises(CopsdError, match=rf"line 2.*{named}"):
        score(tmp_path, answers=[ANSWERS[1], answer])


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(app, ["score", "mini", "--responses", str(tmp_path / "a.jsonl")])
    assert isinstance(done.exception, CopsdError)
    assert done.exception.code in (ExitCode.DATA, ExitCode.USAGE)
