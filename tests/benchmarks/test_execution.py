"""A model's program is right, wrong, or stopped at a limit; without a sandbox it is not run at all."""

import asyncio
import time
from pathlib import Path

import pytest

from copsd_bench.benchmarks.execution import passed, run_here

LIMITS = {"seconds": 60, "memory": 1 << 29, "output": 1 << 16}


@pytest.mark.parametrize(
    ("program", "success", "reason"),
    [
        ("assert 1 + 1 == 2", True, ""),
        ("assert 1 + 1 == 3", False, "AssertionError"),
        ("import sys; sys.exit(3)", False, ""),
        ("def f(:", False, "SyntaxError"),
        ("x = bytearray(1 << 30)", False, "MemoryError"),
        ("while True: print('again' * 100)", False, "wrote more than 65,536 bytes"),
        ("open('big', 'wb').write(b'0' * (1 << 20))", False, ""),
        ("import os; assert 'COPSD_DATA_DIR' not in os.environ and 'HF_TOKEN' not in os.environ", True, ""),
        ("import os; assert os.listdir() == ['program.py']", True, ""),
        ("input()", False, "EOFError"),
    ],
    ids=["right", "wrong", "exit", "syntax", "memory", "output", "file", "environment", "folder", "input"],
)
def test_a_program_passes_if_it_exits_with_0_within_its_limits(
    monkeypatch: pytest.MonkeyPatch, program: str, success: bool, reason: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    outcome = asyncio.run(run_here(program, **LIMITS))
    assert outcome.success == success, outcome
    assert reason in outcome.reason


def test_time_is_limited_and_children_end_with_the_program(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\nwhile True: pass"
    started = time.monotonic()
    outcome = asyncio.run(run_here(program, seconds=1))
    assert not outcome.success
    assert "1 seconds" in outcome.reason or outcome.reason == ""  # the wall clock or the CPU limit, whichever is first
    assert time.monotonic() - started < 10
    time.sleep(2.5)
    assert not mark.exists()


def test_without_a_sandbox_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    score = asyncio.run(passed(f"open({str(mark)!r}, 'w')", "none", "answer"))
    assert score.unscored_reason if hasattr(score, "unscored_reason") else score.value != score.value
    assert not mark.exists()
