"""Running a model's code: in Inspect's docker sandbox, or here if the user insists; with limits in both cases."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inspect_ai.scorer import Score
from inspect_ai.util import OutputLimitExceededError
from inspect_ai.util import sandbox as inspect_sandbox

Where = Literal["docker", "local", "none"]

SECONDS = 30
MEMORY_BYTES = 1 << 30
OUTPUT_BYTES = 1 << 20
NO_SANDBOX = (
    "unscored: no sandbox; install docker, or pass --unsafe-local-exec, which runs the model's code on this machine as "
    "you (limits on time, memory and output, but access to your files and network)"
)
LOCAL = "the model's code ran on this machine (--unsafe-local-exec)"
COMPOSE = Path(__file__).parents[1] / "data" / "sandbox.yaml"
"""Docker's side of the limits: memory, processes, no network."""

_GUARD = """
import os, resource, sys
memory, output, seconds = map(int, sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (output, output))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.execv(sys.executable, [sys.executable, "-I", sys.argv[4]])
"""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        success: it exited with 0 within the limits.
        reason: its last words on stderr, or the limit it ran into.
    """

    success: bool
    reason: str


def where_to_run(unsafe_local_exec: bool) -> Where:
    """`local` if the user insists, `docker` if its daemon answers, else `none`."""
    if unsafe_local_exec:
        return "local"
    if shutil.which("docker") is None:
        return "none"
    with suppress(subprocess.TimeoutExpired):
        if subprocess.run(["docker", "info"], capture_output=True, timeout=10).returncode == 0:
            return "docker"
    return "none"


def notes(where: Where) -> list[str]:
    """What a reader of the number must know."""
    return {"docker": [], "local": [LOCAL], "none": [NO_SANDBOX]}[where]


def inspect_sandbox_of(where: Where) -> tuple[str, str] | None:
    """Inspect's sandbox specification of a task."""
    return ("docker", str(COMPOSE)) if where == "docker" else None


async def passed(program: str, where: Where, answer: str) -> Score:
    """Whether a program that ends with its tests exits with 0; unscored where nothing may run.

    Args:
        program: Python source.
        where: see `where_to_run`.
        answer: the model's part of it, for the log.
    """
    if where == "none":
        return Score.unscored(reason="no sandbox")
    outcome = await (run_in_docker(program) if where == "docker" else run_here(program))
    return Score(value="C" if outcome.success else "I", answer=answer, explanation=outcome.reason)


async def run_in_docker(program: str, seconds: int = SECONDS) -> Outcome:
    """Run a program in the sample's container."""
    try:
        result = await inspect_sandbox().exec(["python", "-c", program], timeout=seconds)
    except TimeoutError:
        return Outcome(False, f"stopped after {seconds} seconds")
    except OutputLimitExceededError:
        return Outcome(False, "wrote too much")
    return Outcome(result.success, result.stderr[-2000:])


async def run_here(
    program: str, seconds: int = SECONDS, memory: int = MEMORY_BYTES, output: int = OUTPUT_BYTES
) -> Outcome:
    """Run a program on this machine in a folder and process group of its own, which both end with it.

    Args:
        program: Python source.
        seconds: wall-clock and CPU time it may take.
        memory: address space it may use, bytes.
        output: bytes it may write to stdout and stderr together, and to a file.
    """
    with tempfile.TemporaryDirectory(prefix="copsd-exec-") as folder:
        path = Path(folder) / "program.py"
        path.write_text(program, encoding="utf-8")
        limits = [str(memory), str(output), str(seconds)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _GUARD, *limits, str(path), cwd=folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": os.defpath, "HOME": folder, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                written = await _read(process.stdout, output)
                code = await process.wait() if len(written) <= output else None
        except TimeoutError:
            return Outcome(False, f"stopped after {seconds} seconds")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code is None:
        return Outcome(False, f"wrote more than {output:,} bytes")
    return Outcome(code == 0, written.decode(errors="replace")[-2000:])


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    written = b""
    while len(written) <= limit and (chunk := await stream.read(1 << 16)):
        written += chunk
    return written
