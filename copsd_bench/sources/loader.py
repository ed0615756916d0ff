"""The one way records get in: located, verified by sha256 and count, parsed, brought to one schema."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.schema import DatasetInfo
from copsd_bench.sources.converters import CONVERTERS
from copsd_bench.sources.formats import parse
from copsd_bench.sources.locate import Located, Source, locate
from copsd_bench.sources.pins import Pin, SourceFile, pin_named
from copsd_bench.sources.tables import file_sha256, table_records

IMAGE = "image"
"""Field of a converted record that names its image (see `sources/images.py`)."""


@dataclass(frozen=True)
class Loaded:
    """Verified records.

    Attributes:
        pin, file: what was asked for.
        records: in the file's order, in the benchmark's one schema.
        source: where they came from.
        paths: the files read.
        revision: commit of the hub or GitHub repository.
        sha256: of the file read (of their digests, if there are several).
        content_sha256: of the records themselves, in any order: equal for a csv mirror and a parquet on the hub that
            hold the same records.
        verified_by: `sha256 and count`, `revision and count` where the hub's file has no known sha256, or `schema`
            where a hub-only file could not be checked when its pin was written.
    """

    pin: Pin
    file: str
    records: list[dict[str, Any]]
    source: Source
    paths: tuple[Path, ...]
    revision: str
    sha256: str
    content_sha256: str
    verified_by: str

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.records)

    def info(self, used: int) -> DatasetInfo:
        """What a record says about the data of a task that used `used` items.

        Its sha256 is that of the content and its revision that of the pin, so that runs from a mirror and from the hub
        compare when the records agree; `source` says where these came from.
        """
        pinned = self.pin.file(self.file).commit
        return DatasetInfo(
            name=self.pin.name,
            source=self.source,
            revision=pinned or self.revision,
            sha256=self.content_sha256,
            count=self.count,
            used=used,
            licence=self.pin.licence,
        )


def load_records(name: str | Pin, file: str = "test") -> Loaded:
    """Load and verify one file of a benchmark.

    Args:
        name: a pin's name, or a pin.
        file: which of its files (`test`, `train` ...).

    Raises:
        CopsdError: unknown name; unreachable, altered, truncated or malformed data; another number of records.
    """
    pin = name if isinstance(name, Pin) else pin_named(name)
    pinned = pin.file(file)
    located = locate(pin, file)
    records: list[dict[str, Any]] = []
    digests = []
    column = pin.images.column if pin.images is not None else ""
    for path in located.paths:
        if column and path.suffix == ".parquet":
            digests.append(_verify(file_sha256(path), path, located, pinned))
            records += table_records(path, column)
        else:
            data = path.read_bytes()
            digests.append(_verify(hashlib.sha256(data).hexdigest(), path, located, pinned))
            records += parse(data, str(path), pinned.records, pinned.keyed_by)
    if pinned.count and len(records) != pinned.count:
        raise CopsdError(
            f"{located.paths[0]} holds {len(records)} records, expected {pinned.count}; {_advice(located)}.",
            ExitCode.DATA,
        )
    return Loaded(
        pin=pin,
        file=file,
        records=(records := _convert(pin, records, located)),
        source=located.source,
        paths=located.paths,
        revision=located.revision,
        sha256=digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest(),
        # An image is recorded by its own sha256, sample by sample: where it lay is not content.
        content_sha256=content_sha256(
            [{key: value for key, value in record.items() if key != IMAGE} for record in records]
            if pin.images is not None
            else records
        ),
        verified_by="sha256 and count" if located.sha256 else "revision and count" if pinned.count else "schema",
    )


def load_subsets(name: str, split: str = "test") -> Loaded:
    """All files of a split as one list of records, each with its file's name as `subset`.

    Raises:
        CopsdError: as `load_records`.
    """
    pin = pin_named(name)
    parts = {file: load_records(pin, file) for file in pin.names(split)}
    records = [{**record, "subset": file.partition("/")[2]} for file, part in parts.items() for record in part.records]
    loaded = list(parts.values())
    return replace(
        loaded[0],
        records=records,
        paths=tuple(path for part in loaded for path in part.paths),
        sha256=hashlib.sha256("".join(part.sha256 for part in loaded).encode()).hexdigest(),
        content_sha256=content_sha256(records),
    )


def content_sha256(records: list[dict[str, Any]]) -> str:
    """sha256 over records as canonical JSON, sorted: independent of file format and order."""
    lines = sorted(json.dumps(record, sort_keys=True, ensure_ascii=False) for record in records)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _verify(found: str, path: Path, located: Located, pinned: SourceFile) -> str:
    if not located.sha256 or found == located.sha256:
        return found
    if not (size := path.stat().st_size):
        state = "is empty"
    elif size != pinned.bytes:
        state = f"was altered or cut: {size:,} bytes, expected {pinned.bytes:,}"
    else:
        state = "was altered"
    raise CopsdError(
        f"{path} {state} (sha256 {found[:16]}..., expected {located.sha256[:16]}...); {_advice(located)}.",
        ExitCode.DATA,
    )


def _advice(located: Located) -> str:
    if located.source == "mirror":
        return "copy it into the mirror again"
    return "delete it and run `copsd-bench data fetch`"


def _convert(pin: Pin, records: list[dict[str, Any]], located: Located) -> list[dict[str, Any]]:
    try:
        found = [CONVERTERS[pin.converter](record) for record in records] if pin.converter else records
        for record in found:
            for name in pin.fields:
                record[name]
    except (KeyError, TypeError, AttributeError) as error:
        raise CopsdError(
            f"{located.paths[0]} has another schema than {pin.title}: {error!r} in a record; {_advice(located)}.",
            ExitCode.DATA,
        ) from error
    return found
