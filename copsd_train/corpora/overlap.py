"""Is a prompt that is trained on an evaluation item? Exact and near matches against every benchmark text at hand."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from copsd_bench.collapse.text import words
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.corpora.schema import PromptRow

PACKAGED = ("mini.jsonl", "collapse_prompts.jsonl")
"""Evaluation prompts that come with the package."""
NEAR = 0.5
"""Share of common words (Jaccard) from which two texts are near: short questions on different things may be."""
NEARLY_ALL = 0.8
"""The same for other people's corpora, which are refused for it."""
QUOTED, QUOTES = 0.25, 0.5
"""More than this share of a prompt's word 5-grams in one benchmark text, or of the text's in the prompt."""
_FEWEST = 4  # a text of fewer words says nothing; and a text of a few 5-grams may share one of them
_PAIRS = 12_000_000  # compared at once: about 300 MB

How = Literal["is the same as", "quotes", "is quoted by", "is close to"]


@dataclass(frozen=True)
class Overlap:
    """A prompt and the benchmark text it is too close to; `share` is of words or 5-grams, by `how`."""

    prompt: str
    text: str
    how: How
    share: float


def find_overlaps(prompts: Sequence[str], texts: Iterable[str], near: float = NEAR) -> list[Overlap]:
    """Prompts that equal a text, share many words with it (Jaccard at least `near`), or a run of its wording.

    One finding a prompt, the strongest. Texts are compared as lower-case words without punctuation; texts of fewer
    than four words are passed over.
    """
    ours = [" ".join(words(prompt)) for prompt in prompts]
    theirs = iter(sorted({" ".join(w) for text in set(texts) if len(w := words(text)) >= _FEWEST}))
    found: dict[int, Overlap] = {}
    while block := list(islice(theirs, max(_PAIRS // max(len(ours), 1), 1))):
        for i, j, how, share in _matches(ours, block, near):
            if i not in found or share > found[i].share:
                found[i] = Overlap(prompts[i], block[j], how, share)
    return [found[i] for i in sorted(found)]


def refuse_overlap(prompts: Sequence[str], what: str) -> None:
    """Refuse to train on evaluation items: the same text, its wording, or nearly the same words.

    Args:
        prompts: what is trained on.
        what: name of the corpus, for the message.

    Raises:
        CopsdError: a prompt overlaps a benchmark text on this machine (how many do, and the first pair).
    """
    overlaps = find_overlaps(prompts, benchmark_texts(), NEARLY_ALL)
    if not overlaps:
        return
    first = overlaps[0]
    raise CopsdError(
        f"{what} overlaps the benchmarks in {len(overlaps)} of {len(prompts)} prompts: {_short(first.prompt)!r} "
        f"{first.how} {_short(first.text)!r}; remove them, or allow the overlap if no such benchmark is reported.",
        ExitCode.DATA,
    )


def without_overlap(rows: Sequence[PromptRow]) -> tuple[list[PromptRow], list[Overlap]]:
    """The rows whose prompts overlap no benchmark text on this machine, and what was found at the others."""
    found = find_overlaps([row.prompt for row in rows], benchmark_texts(), NEARLY_ALL)
    overlapping = {overlap.prompt for overlap in found}
    return [row for row in rows if row.prompt not in overlapping], found


def benchmark_texts() -> Iterator[str]:
    """Texts of all evaluation items at hand: packaged, in `COPSD_DATA_DIR`, or in the caches of the loader.

    Nothing is downloaded. Training splits are left out: they may be trained on.
    """
    from copsd_bench.sources.locate import local, mirror_dir
    from copsd_bench.sources.pins import pins

    for name in PACKAGED:
        packaged = files("copsd_bench") / "data" / name
        if packaged.is_file():
            yield from _strings_of(name, packaged.read_bytes())
    mirror = mirror_dir()
    if mirror is not None:
        yield from strings_in(path for path in mirror.rglob("*") if path.name.split(".")[0] != "train")
    for pin in pins().values():
        for name, file in pin.files.items():
            located = None if name == "train" else local(pin, file)
            if located is not None and located.source != "mirror":
                yield from strings_in(located.paths)


def strings_in(paths: Iterable[Path]) -> Iterator[str]:
    """Every string in those of the files that hold data (csv, tsv, json, jsonl, parquet; gzipped or not), raw."""
    for path in paths:
        if path.is_file() and path.name != "MANIFEST.tsv":
            yield from _strings_of(path.name, path.read_bytes())


def _strings_of(name: str, data: bytes) -> Iterator[str]:
    if name.endswith(".gz"):
        name, data = name.removesuffix(".gz"), gzip.decompress(data)
    suffix = name.rsplit(".", 1)[-1]
    if suffix in ("csv", "tsv"):
        # Not the loader's parser: files without a header or with ragged rows are read too.
        csv.field_size_limit(2**31 - 1)
        for row in csv.reader(data.decode("utf-8-sig").splitlines(keepends=True), delimiter=",\t"[suffix == "tsv"]):
            yield from row
    elif suffix == "jsonl":
        for line in data.decode("utf-8-sig").split("\n"):
            yield from _strings(json.loads(line)) if line.strip() else ()
    elif suffix == "json":
        yield from _strings(json.loads(data))
    elif suffix == "parquet":
        from copsd_bench.sources.formats import parse

        yield from _strings(parse(data, name))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _matches(ours: Sequence[str], theirs: Sequence[str], near: float) -> Iterator[tuple[int, int, How, float]]:
    """(our index, their index, how, share) of every pair that is too close; texts are words joined by spaces."""
    index = {text: j for j, text in enumerate(theirs)}
    for i, text in enumerate(ours):
        if text in index:
            yield i, index[text], "is the same as", 2.0  # above any share: the plainest finding is kept
    shared, a, b = _shared(ours, theirs, n=1)
    jaccard = shared / np.maximum(a[:, None] + b[None, :] - shared, 1)
    yield from ((int(i), int(j), "is close to", float(jaccard[i, j])) for i, j in np.argwhere(jaccard >= near))
    shared, a, b = _shared(ours, theirs, n=5)
    quoted = shared / np.maximum(a, _FEWEST)[:, None]
    yield from ((int(i), int(j), "is quoted by", float(quoted[i, j])) for i, j in np.argwhere(quoted > QUOTED))
    quotes = shared / np.maximum(b, _FEWEST)[None, :]
    yield from ((int(i), int(j), "quotes", float(quotes[i, j])) for i, j in np.argwhere(quotes > QUOTES))


def _shared(ours: Sequence[str], theirs: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct word n-grams in common, shape [ours, theirs], and how many each side has."""
    from scipy.sparse import csr_matrix

    mine, yours = [_grams(text, n) for text in ours], [_grams(text, n) for text in theirs]
    column = {gram: c for c, gram in enumerate(set().union(*mine))}

    def matrix(rows: Sequence[set[str]]) -> csr_matrix:
        columns = [[column[gram] for gram in row if gram in column] for row in rows]
        starts = np.cumsum([0, *map(len, columns)])
        flat = np.array([c for row in columns for c in row], dtype=np.int64)
        return csr_matrix((np.ones(len(flat), dtype=np.int32), flat, starts), shape=(len(rows), max(len(column), 1)))

    shared = (matrix(mine) @ matrix(yours).T).toarray()
    return shared, np.array([len(grams) for grams in mine]), np.array([len(grams) for grams in yours])


def _grams(text: str, n: int) -> set[str]:
    parts = text.split()
    return {" ".join(parts[i : i + n]) for i in range(len(parts) - n + 1)}


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
