"""compare, check and leaderboard as a user calls them: output, files and exit codes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from copsd_bench.cli import main
from copsd_bench.records.schema import ConstitutionInfo
from copsd_bench.records.store import write_record
from tests.records.factory import like, record, rows, task

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Call the command line in a folder with records; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    few = [task(samples=rows(groups={"harmful": 12, "benign": 12}, prefix="mini:"))]
    for name, one in {
        "base": record(),
        "again": record(like(flips=0.02), 1),
        "short": record(like(length=0.4), 2),
        "prompted": record(like(length=0.6), 3, constitution=ConstitutionInfo(mode="default", digest="d" * 64)),
        "few": record(tasks=few),
    }.items():
        write_record(one, tmp_path / f"{name}.json")

    def call(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["copsd-bench", *args])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        code = caught.value.code
        return int(code or 0), out, err

    return call


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("again.json", "--baseline", "base.json"), 0),
        (("short.json", "--baseline", "base.json"), 1),
        (("prompted.json", "--baseline", "base.json"), 2),
        (("prompted.json", "--baseline", "base.json", "--vary", "constitution"), 1),
        (("few.json", "--baseline", "few.json"), 3),
        (("none.json", "--baseline", "base.json"), 2),
        (("again.json", "--baseline", "base.json", "--rules", "none.yaml"), 2),
    ],
)
def test_check_exits_with_its_documented_codes(run: Run, args: tuple[str, ...], code: int) -> None:
    found, out, err = run("check", *args)
    assert found == code
    assert out.startswith("Verdict:") if code != 2 else err.startswith("error: ") and err.count("\n") == 1


def test_compare_names_the_field_and_takes_it_as_varied(run: Run) -> None:
    code, _, err = run("compare", "base.json", "prompted.json")
    assert code == 2
    assert "constitution.mode is none / default" in err
    code, out, _ = run("compare", "base.json", "prompted.json", "--vary", "constitution")
    assert code == 0
    assert "Varied on purpose: constitution.mode (none / default)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_compare_several_as_json_and_markdown(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("compare", "base.json", "again.json", "short.json", "--format", "json")
    assert code == 0
    assert [item["tasks"][0]["task"] for item in json.loads(out)] == ["mini", "mini"]
    code, out, _ = run("compare", "base.json", "short.json", "--format", "markdown", "--out", "change.md")
    assert (code, out) == (0, "")
    assert "| · benign |" in (tmp_path / "change.md").read_text()


def test_check_writes_json(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("check", "short.json", "--baseline", "base.json", "--format", "json", "--out", "verdict.json")
    assert code == 1
    assert json.loads((tmp_path / "verdict.json").read_text())["symptoms"] == ["contraction"]


def test_leaderboard_of_a_folder(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("leaderboard", ".", "--suite", "mini")
    assert code == 0
    assert "Block 2 of 2" in out
    code, out, _ = run("leaderboard", "base.json", "short.json", "--format", "csv")
    assert code == 0
    assert out.startswith("block,model,")
    code, _, err = run("leaderboard")
    assert code == 2
    assert "give the JSON files or folders" in err
    (tmp_path / "runs").mkdir()
    (tmp_path / "base.json").rename(tmp_path / "runs" / "base.json")
    code, out, _ = run("leaderboard", "--format", "csv")  # of what `run` wrote here
    assert (code, out.count("\n")) == (0, run("leaderboard", "runs", "--format", "csv")[1].count("\n"))


def test_an_output_folder_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    code, _, err = run("compare", "base.json", "again.json", "--out", "folder")
    assert code == 2
    assert "is a folder" in err
