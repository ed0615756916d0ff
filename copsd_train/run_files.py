"""The files that a recipe names (prompts, data, principles, a teacher): whether they are what a run began with."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.digest import adapter_digest, file_sha256
from copsd_train.corpora.schema import read_prompts

ENDINGS = (".jsonl", ".csv", ".parquet", ".yaml", ".yml")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def file_digests(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of every file, and the digest of every adapter, that a recipe (plain data) names and that is there.

    Also of the constitutions that its prompts name as files.
    """
    prompts = [Path(str(name)) for name in recipe.get("prompts") or ()]
    names = sorted({*_texts(recipe), *_constitutions(path for path in prompts if path.is_file())})
    files = {name: file_sha256(Path(name)) for name in names if name.endswith(ENDINGS) and Path(name).is_file()}
    adapters = (name for name in names if all((Path(name) / part).is_file() for part in ADAPTER))
    return files | {name: adapter_digest(Path(name)) for name in adapters}


def _constitutions(prompts: Iterable[Path]) -> Iterator[str]:
    for path in prompts:
        for row in read_prompts(path):
            if row.constitution is not None:
                yield row.constitution


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
