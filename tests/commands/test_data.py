"""`copsd-bench data`: what it prints, its exit codes, and that listing needs no network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from copsd_bench.errors import ExitCode
from copsd_bench.sources.pins import pins


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No mirror, no caches, and servers that cannot be reached."""
    monkeypatch.delenv("COPSD_DATA_DIR", raising=False)
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def data(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "copsd_bench.cli", "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_list_says_what_is_at_hand(empty: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = data("list")
    assert nothing.returncode == 0, nothing.stderr
    assert "mirror" not in nothing.stdout
    monkeypatch.setenv("COPSD_DATA_DIR", str(data_dir))
    listed = data("list")
    assert all(name in listed.stdout for name in pins())
    assert listed.stdout.count("mirror") == sum(
        bool(file.sha256) for pin in pins().values() for file in pin.files.values()
    )
    assert max(map(len, listed.stdout.splitlines())) <= 100


def test_verify_tries_every_file_and_names_the_bad_one(
    empty: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = empty / "mirror"
    for name in ("XSTest", "IFEval"):
        shutil.copytree(data_dir / name, mirror / name)
    monkeypatch.setenv("COPSD_DATA_DIR", str(mirror))
    with (mirror / "XSTest" / "xstest_prompts.csv").open("ab") as file:
        file.write(b"\n")
    done = data("verify", "xstest", "ifeval")
    assert done.returncode == ExitCode.DATA
    assert "ifeval/test: 541 records from mirror, by sha256 and count" in done.stdout
    assert "1 of 2 files cannot be used: xstest/test." in done.stderr


def test_where_gives_paths_and_an_exit_code(empty: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data("where", "gsm8k").returncode == ExitCode.DATA
    monkeypatch.setenv("COPSD_DATA_DIR", str(data_dir))
    done = data("where", "gsm8k")
    assert done.returncode == 0, done.stderr
    assert all(Path(line.split("\t")[2]).is_file() for line in done.stdout.splitlines())


def test_fetch_without_mirror_or_network_says_how_to_mirror(empty: Path) -> None:
    done = data("fetch", "xstest")
    assert done.returncode == ExitCode.DATA
    assert "Traceback" not in done.stderr
    assert "HF_HUB_OFFLINE is set" in done.stdout
