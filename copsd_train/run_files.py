"""The files that a recipe names (prompts, data, principles, a teacher): whether they are what a run began with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.digest import adapter_digest, file_sha256
from copsd_train.corpora.schema import PromptRow, SftRow, read_prompts, read_sft

ENDINGS = (".jsonl", ".csv", ".parquet", ".yaml", ".yml")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def file_digests(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of every file, and the digest of every adapter, that a recipe (plain data) names and that is there.

    Also of the images, and of the constitutions in files, that the rows of its corpora name.
    """
    rows = list(_rows(recipe))
    constitutions = (row.context if isinstance(row, SftRow) else row.constitution for row in rows)
    names = sorted({*_texts(recipe), *(name for name in constitutions if name is not None)})
    files = {name: file_sha256(Path(name)) for name in names if name.endswith(ENDINGS) and Path(name).is_file()}
    adapters = (name for name in names if all((Path(name) / part).is_file() for part in ADAPTER))
    images = {row.image: row.image_sha256 for row in rows if row.image and row.image_sha256}
    return files | {name: adapter_digest(Path(name)) for name in adapters} | images


def _rows(recipe: Mapping[str, Any]) -> Iterator[PromptRow | SftRow]:
    for section in (recipe, recipe.get("steering") or {}):
        for name in section.get("prompts") or ():
            if Path(name).is_file():
                yield from read_prompts(Path(name))
    examples = Path((recipe.get("sft") or {}).get("data", ""))
    if examples.is_file():
        yield from read_sft(examples)


def require_unchanged(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with other data: what is resumed must give the numbers of a run that was never interrupted.

    Args:
        folder: of the run.
        before: digests when it began.
        now: the same now; a file that is gone is missed where it is read.

    Raises:
        CopsdError: a file has changed.
    """
    for name, digest in before.items():
        if now.get(name, digest) != digest:
            raise CopsdError(
                f"{name} was changed after the run in {folder} began; put it back, or start a new run with --out.",
                ExitCode.DATA,
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
