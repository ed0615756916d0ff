"""One side of a comparison in a process of its own, so that memory and caches are its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 3600


def fresh(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a module of this folder and read the JSON object it prints last; ends this process if that one fails.

    Args:
        module: its name, e.g. `kl_memory`.
        arguments: options by name; True is a bare flag, False and None are left out.
    """
    command = [sys.executable, "-m", f"{__package__}.{module}"]
    for name, value in arguments.items():
        if value is not False and value is not None:
            flag = f"--{name.replace('_', '-')}"
            command += [flag] if value is True else [flag, str(value)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=SECONDS)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result
