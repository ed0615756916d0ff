"""Zip and tar archives, unpacked into a folder of the cache and nowhere else."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from copsd_bench.cachedir import make_folder, require_space, staging_dir
from copsd_bench.errors import CopsdError, ExitCode

Member = tuple[str, int, Callable[[], IO[bytes]]]
"""Name, size in bytes, and how to open it."""
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, FileExistsError, NotADirectoryError)


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder with an archive's files, unpacked in one step if it is not there yet.

    Args:
        archive: zip or tar (also compressed).
        folder: of the cache; its name should follow the archive's content.

    Raises:
        CopsdError: damaged, too big for the disk, or with a member that is no plain file of this folder (an absolute
            path, one with `..`, a link, a device): then nothing is unpacked.
    """
    if folder.is_dir():
        return folder
    from filelock import FileLock

    make_folder(folder.parent)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return folder
        try:
            with staging_dir(folder.parent, folder.name) as staging:
                _unpack(archive, staging / "files")
                (staging / "files").rename(folder)
        except (*_DAMAGED, ValueError, RuntimeError) as error:
            raise CopsdError(f"{archive} cannot be unpacked ({error}); download it again.", ExitCode.DATA) from error
    return folder


def _unpack(archive: Path, target: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            _write(archive, list(_zip_members(archive, opened)), target)
    else:
        with tarfile.open(archive) as opened_tar:
            _write(archive, list(_tar_members(archive, opened_tar)), target)


def _write(archive: Path, members: list[Member], target: Path) -> None:
    for name, _, _ in members:
        inside(name, str(archive))
    require_space(target.parent, sum(size for _, size, _ in members), archive.name)
    make_folder(target)
    for name, size, opened in members:
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened() as source, path.open("xb") as out:
            shutil.copyfileobj(source, out)
            if out.tell() != size:
                raise ValueError(f"{name} has {out.tell()} bytes, the archive says {size}")


def inside(name: str, where: str) -> PurePosixPath:
    """A relative path that stays below the folder it starts from.

    Raises:
        CopsdError: it is absolute or empty, or climbs out.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise CopsdError(f"{where} names {name!r}, which lies outside its folder; do not use this copy.", ExitCode.DATA)
    return path


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> Iterator[Member]:
    for member in opened.infolist():
        kind = member.external_attr >> 28  # of a Unix file mode: 8 is a plain file, 0 was not said
        if member.is_dir():
            continue
        if kind not in (0, 8):
            raise _no_file(archive, member.filename)
        yield member.filename, member.file_size, lambda member=member: opened.open(member)  # type: ignore[misc]


def _tar_members(archive: Path, opened: tarfile.TarFile) -> Iterator[Member]:
    for member in opened.getmembers():
        if member.isdir():
            continue
        if not member.isreg():
            raise _no_file(archive, member.name)
        yield member.name, member.size, lambda member=member: opened.extractfile(member)  # type: ignore[misc]


def _no_file(archive: Path, name: str) -> CopsdError:
    return CopsdError(f"{archive} holds {name!r}, which is no plain file; do not use this copy.", ExitCode.DATA)
