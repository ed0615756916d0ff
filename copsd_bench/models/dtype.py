"""Where a model runs and in which number format, by what the hardware does well."""

from functools import cache
from pathlib import Path
from typing import Literal

from copsd_bench.errors import CopsdError

Dtype = Literal["bfloat16", "float32"]

# Flags of /proc/cpuinfo: x86 tile and vector units, and Arm's.
_BF16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}


def default_device() -> str:
    """`cuda`, `mps` or `cpu`: the first that torch can use."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def checked_device(device: str) -> str:
    """A torch device that this machine has.

    Raises:
        CopsdError: torch does not know it, or has none of its kind here.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise CopsdError(
            f"Device {device!r} cannot be used here; leave --device out for {default_device()!r}."
        ) from error
    return device


def default_dtype(device: str) -> Dtype:
    """bfloat16 where `device` computes it natively (recent CUDA; AMX, AVX512-BF16 or Arm BF16 CPUs), else float32.

    A CPU without such instructions emulates bfloat16, which is slower than float32.
    """
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device == "cpu" and cpu_bf16_flags() else "float32"


@cache
def cpu_bf16_flags() -> frozenset[str]:
    """The bfloat16 instruction sets of this CPU; empty where the system does not list them (macOS, Windows)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(_BF16_FLAGS & set(flags.split()))
