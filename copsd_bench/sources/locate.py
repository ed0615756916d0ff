"""Where a pinned file can be had: mirror, hub cache, hub, download cache, GitHub; in this order."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from copsd_bench.cachedir import cache_dir, require_space, write_atomic
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.sources.pins import HubRepo, Pin, SourceFile

Source = Literal["mirror", "hub cache", "hub", "download cache", "github"]

_DOWNLOAD_SECONDS = 20.0  # of silence, not in total


@dataclass(frozen=True)
class Located:
    """A file found. `sha256` is what it must have; empty where that is not known (hub files)."""

    source: Source
    paths: tuple[Path, ...]
    revision: str
    sha256: str


def mirror_dir() -> Path | None:
    """The folder `COPSD_DATA_DIR` names, or None if it is not set.

    Raises:
        CopsdError: it is set, but there is no such folder.
    """
    value = os.environ.get("COPSD_DATA_DIR")
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise CopsdError(f"COPSD_DATA_DIR names {value}, which is no folder; correct or unset it.", ExitCode.DATA)
    return folder


def local(pin: Pin, file: SourceFile) -> Located | None:
    """Where a file lies on this machine already, or None. No network, and no content is read."""
    return next(_local(pin, file), None)


def _local(pin: Pin, file: SourceFile) -> Iterator[Located]:
    mirror = mirror_dir()
    if mirror is not None and (paths := tuple(sorted(mirror.glob(file.mirror)))):
        yield Located("mirror", paths, file.commit, file.sha256)
    if pin.hub is not None and file.hub_file:
        from copsd_bench.hub import cached_snapshot

        folder = cached_snapshot(pin.hub.repo, pin.hub.revision)
        paths = tuple(sorted(folder.glob(file.hub_file))) if folder is not None else ()
        if paths and (_is_whole(file) or _fetched(pin, file).is_file()):
            yield Located("hub cache", paths, pin.hub.revision, file.hub_sha256)
    download = download_path(pin, file)
    if download.is_file():
        yield Located("download cache", (download,), file.commit, file.sha256)


def locate(pin: Pin, file_name: str) -> Located:
    """Find a file, downloading it if it is nowhere on this machine.

    Raises:
        CopsdError: it cannot be had; says what was tried and how to mirror (exit code DATA).
    """
    file = pin.file(file_name)
    found = local(pin, file)
    if found is not None:
        return found
    mirror = mirror_dir()
    tried = [f"COPSD_DATA_DIR ({mirror}) has no {file.mirror}" if mirror else "COPSD_DATA_DIR is not set"]
    for fetch in (_from_hub, _from_github):
        try:
            found = fetch(pin, file)
        except CopsdError as error:
            if error.code == ExitCode.DISK:
                raise
            reason = str(error).rstrip(".")
            tried.append(reason[0].lower() + reason[1:])
        else:
            if found is not None:
                return found
    gate = ""
    if pin.hub is not None and pin.hub.gated:
        page = f"https://huggingface.co/datasets/{pin.hub.repo}"
        gate = f"; it is gated, so accept its terms at {page} and set HF_TOKEN to a token of that account"
    raise CopsdError(
        f"{pin.title} ({file_name}) is not at hand: {'; '.join(tried)}{gate}; to mirror it, put the file at "
        f"FOLDER/{file.mirror} and set COPSD_DATA_DIR=FOLDER.",
        ExitCode.DATA,
    )


def download_path(pin: Pin, file: SourceFile) -> Path:
    """Where a download is kept; its digest is part of the path, so that another pin is another file."""
    return cache_dir() / "data" / pin.name / (file.sha256[:12] or "unpinned") / Path(file.mirror).name


def online(pin: Pin, file: SourceFile) -> Source | None:
    """The network source that answers, if any. Gated repositories count when a token is set."""
    from copsd_bench.hub import has_token, is_reachable
    from copsd_bench.net import answers

    if pin.hub is not None and file.hub_file and is_reachable() and (not pin.hub.gated or has_token()):
        return "hub"
    return "github" if file.url and answers(_server(file.url)) else None


def _from_hub(pin: Pin, file: SourceFile) -> Located | None:
    if pin.hub is None or not file.hub_file:
        return None
    from copsd_bench.hub import is_reachable

    if not _is_whole(file) and not is_reachable():
        raise CopsdError("the hub, which alone knows how many files it has of them, does not answer", ExitCode.DATA)
    folder, paths = hub_files(pin.hub, [file.hub_file])
    if not _is_whole(file):
        write_atomic(_fetched(pin, file), b"")
    # A snapshot's folder is named by its commit: for a pin on `main` it tells which one this is.
    return Located("hub", tuple(paths), folder.name, file.hub_sha256)


def _is_whole(file: SourceFile) -> bool:
    """Whether records would be missed if some of its files were: one file, or a known number of records."""
    return bool(file.count) or "*" not in file.hub_file


def _fetched(pin: Pin, file: SourceFile) -> Path:
    """Says that all files of a pattern were fetched from the hub; some alone may be in its cache for any reason."""
    name = hashlib.sha256(f"{pin.hub}\0{file.hub_file}".encode()).hexdigest()[:12]
    return cache_dir() / "data" / pin.name / f"{name}.fetched"


def hub_files(hub: HubRepo, patterns: list[str]) -> tuple[Path, list[Path]]:
    """Files of a hub repository, or of the one it moved to, and the folder they are in.

    Raises:
        CopsdError: neither has them, or can be reached.
    """
    from copsd_bench.hub import snapshot

    try:
        folder = snapshot(hub.repo, kind="dataset", revision=hub.revision, allow=patterns)
        if paths := sorted({path for pattern in patterns for path in folder.glob(pattern)}):
            return folder, paths
        raise CopsdError(f"the hub's {hub.repo} has no {' or '.join(patterns)}", ExitCode.DATA)
    except CopsdError as error:
        if not hub.moved_to or error.code == ExitCode.DISK:
            raise
        try:
            return hub_files(HubRepo(repo=hub.moved_to, revision=hub.revision), patterns)
        except CopsdError:
            raise error from None


def _from_github(pin: Pin, file: SourceFile) -> Located | None:
    """Downloaded, verified, and only then put into the cache."""
    if not file.url:
        return None
    import httpx

    from copsd_bench.net import answers

    if not answers(_server(file.url)):
        raise CopsdError(f"{_server(file.url)} does not answer", ExitCode.DATA)
    try:
        response = httpx.get(file.url, timeout=_DOWNLOAD_SECONDS, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        raise CopsdError(f"{file.url} could not be downloaded ({error})", ExitCode.DATA) from error
    found = hashlib.sha256(response.content).hexdigest()
    if found != file.sha256:
        raise CopsdError(
            f"{file.url} has sha256 {found[:16]}..., expected {file.sha256[:16]}... (thrown away)", ExitCode.DATA
        )
    path = download_path(pin, file)
    require_space(path.parent, 2 * file.bytes, pin.title)
    write_atomic(path, response.content)
    return Located("github", (path,), file.commit, file.sha256)


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
