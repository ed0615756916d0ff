"""Where this project keeps what it downloads or builds, and how files get there in one step."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from copsd_bench.errors import CopsdError, ExitCode


def cache_dir() -> Path:
    """The cache folder: `COPSD_CACHE_DIR`, else the platform's user cache. It may not exist yet."""
    configured = os.environ.get("COPSD_CACHE_DIR")
    if configured:
        return Path(configured).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("copsd", appauthor=False)


def make_folder(folder: Path) -> None:
    """Create a folder, of the cache or where a result goes.

    Raises:
        CopsdError: it cannot be created (exit code DISK).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CopsdError(
            f"The folder {folder} cannot be created ({error.strerror}); choose a writable one (for the cache: "
            "COPSD_CACHE_DIR).",
            ExitCode.DISK,
        ) from error


@contextlib.contextmanager
def staging_dir(parent: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside the final place of `name`, on the same filesystem; removed in any case.

    The caller holds the lock of `name`, so staging folders of killed processes that were after the same thing are
    removed first.
    """
    prefix = f".staging-{name}-"
    make_folder(parent)
    for leftover in parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees either the old or the whole new content."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse early when `folder`'s filesystem has fewer than `needed` bytes free.

    Raises:
        CopsdError: not enough space (exit code DISK).
    """
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CopsdError(
            f"{what} needs {needed / 1e9:.1f} GB in {folder}, which has {free / 1e9:.1f} GB free; free some space or "
            "set COPSD_CACHE_DIR to a folder on another disk.",
            ExitCode.DISK,
        )
