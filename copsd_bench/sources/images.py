"""The images of a benchmark by name: single files, members of an archive, or cells of its tables.

A missing or undecodable image is an error; a question is never asked without its image.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from copsd_bench.cachedir import cache_dir, require_space, write_atomic
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.sources.archives import inside, unpacked
from copsd_bench.sources.loader import Loaded
from copsd_bench.sources.locate import hub_files, mirror_dir
from copsd_bench.sources.pins import ImageFiles, Pin
from copsd_bench.sources.tables import SEPARATOR, file_sha256, image_cells, table_name

if TYPE_CHECKING:
    from PIL.Image import Image

MIME_TYPES = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}
"""By Pillow's name of a format. An MPO is a JPEG with further pictures behind it."""


@dataclass(frozen=True)
class ImageBytes:
    """A decodable image: its bytes as they were found, and their format, which a file's name need not tell."""

    content: bytes
    form: str

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def data_uri(self) -> str:
        """The image as models take it."""
        return f"data:image/{MIME_TYPES[self.form]};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class Images:
    """Where a benchmark's images are.

    Attributes:
        benchmark: its title, for messages.
        folder: where single files are; None if they are in tables.
        tables: parquet files by the name their images begin with.
        column: theirs.
        cache: folder for images taken out of tables.
    """

    benchmark: str
    folder: Path | None
    cache: Path
    tables: dict[str, Path] = field(default_factory=dict)
    column: str = ""

    def check(self, names: "list[str]") -> None:
        """Refuse names without an image file; of tables only the rows' number is known before they are read.

        Raises:
            CopsdError: which is missing, and how many.
        """
        if self.folder is None:
            return
        missing = [name for name in dict.fromkeys(names) if not (self.folder / inside(name, self.benchmark)).is_file()]
        if missing:
            raise CopsdError(
                f"{self.benchmark}: {len(missing)} of {len(set(names))} images are not in {self.folder} (first "
                f"{missing[0]}); copy or download them again.",
                ExitCode.DATA,
            )

    def open(self, name: str) -> ImageBytes:
        """An image, decoded once to be sure.

        Raises:
            CopsdError: it is missing or cannot be decoded.
        """
        path = self._in_folder(name) if self.folder is not None else self._in_table(name)
        content = path.read_bytes()
        form = decoded(content, f"{self.benchmark}: image {name}").format or "unknown"
        if form not in MIME_TYPES:
            raise CopsdError(
                f"{self.benchmark}: image {name} has the format {form}, which models do not take; convert it to png.",
                ExitCode.DATA,
            )
        return ImageBytes(content, form)

    def _in_folder(self, name: str) -> Path:
        assert self.folder is not None
        path = self.folder / inside(name, self.benchmark)
        if not path.is_file():
            raise CopsdError(f"{self.benchmark}: image {name} is not in {self.folder}; copy it there.", ExitCode.DATA)
        return path

    def _in_table(self, name: str) -> Path:
        table, _, row = name.rpartition(SEPARATOR)
        if table not in self.tables or not row.isdecimal():
            raise CopsdError(f"{self.benchmark} has no image {name}; download the data again.", ExitCode.DATA)
        path = self._cell(table, int(row))
        if not path.is_file():
            cells = [
                (self._cell(table, number), content)
                for number, content in image_cells(self.tables[table], self.column, int(row))
                if content
            ]
            require_space(self.cache, sum(len(content) for _, content in cells), self.benchmark)
            for cell, content in cells:
                write_atomic(cell, content)
        if not path.is_file():
            raise CopsdError(
                f"{self.benchmark}: row {row} of {self.tables[table]} has no image; download it again.", ExitCode.DATA
            )
        return path

    def _cell(self, table: str, row: int) -> Path:
        return self.cache / table.replace("/", "--") / f"{row}.image"


def decoded(content: bytes, what: str) -> "Image":
    """An image, wholly decoded.

    Raises:
        CopsdError: it cannot be decoded, or has no pixels.
    """
    from PIL import Image

    try:
        image = Image.open(BytesIO(content))
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CopsdError(f"{what} cannot be decoded ({error}); download it again.", ExitCode.DATA) from error
    return image


def check_images(loaded: Loaded) -> int:
    """Decode every image that records name; how many there are.

    Raises:
        CopsdError: one is missing or cannot be decoded.
    """
    assert loaded.pin.images is not None
    images = images_of(loaded)
    names = {str(record[field]) for record in loaded.records for field in loaded.pin.images.fields}
    for name in sorted(names):
        images.open(name)
    return len(names)


def images_of(loaded: Loaded) -> Images:
    """The images that loaded records name.

    Raises:
        CopsdError: there is no folder, archive or repository with them.
    """
    pin, files = loaded.pin, loaded.pin.images
    assert files is not None, f"{pin.name} has no images"
    cache = cache_dir() / "images" / pin.name / loaded.sha256[:12]
    if files.column and all(path.suffix == ".parquet" for path in loaded.paths):
        tables = {table_name(path): path for path in loaded.paths}
        return Images(pin.title, None, cache, tables, files.column)
    try:
        folder = _mirrored(pin, files) or _on_hub(pin, files)
    except CopsdError as error:
        if error.code == ExitCode.DISK:
            raise
        raise _not_at_hand(pin, files, f": {str(error).rstrip('.')}") from error
    if folder is None:
        raise _not_at_hand(pin, files)
    return Images(pin.title, folder, cache)


def _not_at_hand(pin: Pin, files: ImageFiles, why: str = "") -> CopsdError:
    return CopsdError(
        f"The images of {pin.title} are not at hand{why}; put them into FOLDER/{files.mirror} as the authors' download "
        "has them, and set COPSD_DATA_DIR=FOLDER.",
        ExitCode.DATA,
    )


def _mirrored(pin: Pin, files: ImageFiles) -> Path | None:
    mirror = mirror_dir()
    if mirror is None or not files.mirror:
        return None
    folder = mirror / files.mirror
    return _root(folder, files) or _in_archives([folder / name for name in files.archives], pin, files)


def mirrored(pin: Pin) -> bool:
    """Whether the mirror has a folder or an archive of the benchmark's images; nothing is unpacked."""
    mirror, files = mirror_dir(), pin.images
    if mirror is None or files is None or not files.mirror:
        return False
    folder = mirror / files.mirror
    return _root(folder, files) is not None or any((folder / name).is_file() for name in files.archives)


def _on_hub(pin: Pin, files: ImageFiles) -> Path | None:
    patterns = [*files.hub_files, *files.archives]
    if pin.hub is None or not patterns:
        return None
    folder, found = hub_files(pin.hub, patterns)
    archives = [path for path in found if path.name in files.archives]
    return _in_archives(archives, pin, files) if archives else _root(folder, files)


def _in_archives(archives: list[Path], pin: Pin, files: ImageFiles) -> Path | None:
    for archive in archives:
        if archive.is_file():
            folder = unpacked(archive, cache_dir() / "images" / pin.name / file_sha256(archive)[:16])
            if root := _root(folder, files):
                return root
            raise CopsdError(f"{archive} has no folder {' or '.join(files.roots)}; download it again.", ExitCode.DATA)
    return None


def _root(folder: Path, files: ImageFiles) -> Path | None:
    return next((folder / root for root in files.roots if (folder / root).is_dir()), None)
