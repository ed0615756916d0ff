"""Reading and writing records: nothing half-written is ever seen, and only known schemas are read."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records import store
from copsd_bench.records.schema import SCHEMA_VERSION
from tests.records.factory import record, rows, task, with_rows

WRITER = """
import sys
from pathlib import Path
from copsd_bench.records.store import read_record, write_record
path = Path(sys.argv[1])
run = read_record(path)
while True:
    write_record(run, path)
    print("written", flush=True)
"""
RUN = record(tasks=[task(samples=rows(groups={"benign": 5}))])


def test_a_record_survives_the_round_trip(tmp_path: Path) -> None:
    run = record(notes=["naïve “quotes”\n"])
    assert store.read_record(store.write_record(run, tmp_path / "deep" / "run.json")) == run


@settings(max_examples=25, deadline=None)
@given(st.floats(), st.text(max_size=20))
def test_any_float_and_text_give_valid_json(tmp_path_factory: pytest.TempPathFactory, number: float, text: str) -> None:
    run = with_rows(
        RUN.model_copy(update={"notes": [text]}), mean_entropy=number, scores={"accuracy": None, "x": number}
    )
    path = store.write_record(run, tmp_path_factory.mktemp("any") / "run.json")
    read = store.read_record(path)
    finite = number if number - number == 0 else None  # not a number: unscored
    assert read.notes == [text]
    assert {row.mean_entropy for row in read.tasks[0].samples} == {finite}
    assert read.tasks[0].samples[0].scores == {"accuracy": None, "x": finite}


def test_one_line_a_sample(tmp_path: Path) -> None:
    run = record()
    lines = store.write_record(run, tmp_path / "run.json").read_text().splitlines()
    assert sum('"id"' in line for line in lines) == len(run.tasks[0].samples)


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(tmp_path: Path) -> None:
    run = record()
    path = store.write_record(run, tmp_path / "run.json")
    for delay in (0.0, 0.003, 0.008, 0.013):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert store.read_record(path) == run


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.write_record(record(run_seed=1), tmp_path / "run.json")
    before = path.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.write_record(record(run_seed=2), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.json"]


def _altered(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "newer than"),
        ({"schema_version": 0}, "schema 0.*can no longer read"),
        ({"schema_version": None}, "not a record"),
        ({"epochs": "many"}, "wrong at epochs"),
        ({"epohcs": 2}, "wrong at epohcs"),
    ],
)
def test_a_record_that_cannot_be_used_says_why(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    path = _altered(store.write_record(record(), tmp_path / "run.json"), **changes)
    with pytest.raises(CopsdError, match=sentence) as caught:
        store.read_record(path)
    assert caught.value.code == ExitCode.USAGE
    assert str(path) in str(caught.value)


def test_cut_missing_and_folder(tmp_path: Path) -> None:
    path = store.write_record(record(), tmp_path / "run.json")
    path.write_text(path.read_text()[:5000])
    for bad, sentence in ((path, "not valid JSON"), (tmp_path / "none.json", "no record"), (tmp_path, "is a folder")):
        with pytest.raises(CopsdError, match=sentence):
            store.read_record(bad)


def test_an_older_schema_is_migrated_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.write_record(record(), tmp_path / "run.json")
    payload = json.loads(path.read_text())
    payload["rounds"] = payload.pop("epochs")
    path.write_text(json.dumps(payload | {"schema_version": SCHEMA_VERSION - 1}))

    def rename(old: dict[str, object]) -> dict[str, object]:
        return {("epochs" if key == "rounds" else key): value for key, value in old.items()}

    monkeypatch.setitem(store.MIGRATIONS, SCHEMA_VERSION - 1, rename)
    assert store.read_record(path) == record()


def test_records_are_found_among_other_json(tmp_path: Path) -> None:
    first = store.write_record(record(), tmp_path / "a" / "run.json")
    second = store.write_record(record(), tmp_path / "b.json")
    (tmp_path / "a" / "log.json").write_text('{"version": 2}')
    assert store.find_records([tmp_path]) == [first, second]
    assert store.find_records([second, tmp_path]) == [second, first]
    with pytest.raises(CopsdError, match="no record or folder"):
        store.find_records([tmp_path / "nowhere"])
