"""Names, shapes and number formats of tensors in safetensors files, from their headers alone."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(files: Iterable[Path]) -> Shapes:
    """Tensor shapes by name.

    Raises:
        CopsdError: a file is damaged (exit code MODEL).
    """
    return {name: tuple(tensor.get_shape()) for name, tensor in _slices(files)}


def tensor_dtypes(files: Iterable[Path]) -> set[str]:
    """The number formats in use, as safetensors names them (`F32`, `BF16`).

    Raises:
        CopsdError: a file is damaged (exit code MODEL).
    """
    return {str(tensor.get_dtype()) for _, tensor in _slices(files)}


def _slices(files: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118  not a mapping
                    yield name, tensors.get_slice(name)
        except SafetensorError as error:
            raise CopsdError(f"{file} is damaged ({error}); copy or download it again.", ExitCode.MODEL) from error
