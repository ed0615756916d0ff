"""Run the real command line as a user does: another process, its own folder, the real model."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "copsd_bench.cli")


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with the checkout first on the path and a data folder that survives `cwd`."""
    data = os.environ.get("COPSD_DATA_DIR")
    named = {"COPSD_DATA_DIR": str(Path(data).resolve())} if data else {}
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **named, **extra}


def copsd_bench(*arguments: str, cwd: Path, **extra: str) -> "subprocess.CompletedProcess[str]":
    """`copsd-bench ARGUMENTS` in a folder; `extra` are environment variables."""
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=environment(**extra), capture_output=True, text=True, timeout=300
    )
