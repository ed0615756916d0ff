"""The rows of a corpus, and their one reader: any dataset in this schema (jsonl, csv, parquet) can be trained on."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from copsd_bench.constitution import constitution_names, load_constitution
from copsd_bench.errors import CopsdError, ExitCode, first_problem
from copsd_bench.models.digest import file_sha256

Kind = Literal["safety", "over_refusal", "general"]
Route = Literal["refuse", "warn", "help"]
FORMATS = (".jsonl", ".csv", ".parquet")


class PromptRow(BaseModel):
    """One prompt of a corpus. Only `prompt` and `kind` are required in a file.

    Attributes:
        id: unique in the corpus; made from file name and line where the file has none.
        prompt: the user turn.
        kind: `safety` may need a refusal or a warning; `over_refusal` sounds risky and is harmless; `general` is
            anything else.
        category: harm category of a safety or over-refusal prompt, or the sort of work a general prompt asks for.
        constitution: name or file of the constitution it goes with; None means the one of its category
            (`constitution_of`).
        reference: an answer to learn from (`safety` only needs one where no reference model answers).
        route: which of a constitution's three routes the reference takes, if known.
        source: where the row comes from; the file's name where it says nothing.
        image: file that the prompt is about, relative to the corpus file; a path that opens once it is read.
        image_sha256: of that file; filled in where the corpus does not say, checked where it does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    kind: Kind
    category: str = "default"
    constitution: str | None = None
    reference: str | None = None
    route: Route | None = None
    source: str = ""
    image: str | None = None
    image_sha256: str | None = None

    @field_validator("prompt", "reference")
    @classmethod
    def _says_something(cls, text: str | None) -> str | None:
        return _not_blank(text)

    @field_validator("constitution")
    @classmethod
    def _constitution_exists(cls, name: str | None) -> str | None:
        if name is not None:
            _known(name)
        return name


class SftRow(BaseModel):
    """One example of supervised fine-tuning.

    Attributes:
        id: unique in the corpus.
        prompt: the user turn, without its context.
        context: name or file of the constitution that is put around the prompt, or None.
        response: the answer the loss is taken on.
        complete: whether the response ended by itself: one cut at a token limit must not teach where to end.
        kind, category: of the prompt.
        provenance: how the response came about; free, JSON.
        image, image_sha256: as in `PromptRow`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    context: str | None = None
    response: str = Field(min_length=1)
    complete: bool = True
    kind: Kind
    category: str = "default"
    provenance: dict[str, Any] = {}
    image: str | None = None
    image_sha256: str | None = None

    @field_validator("response")
    @classmethod
    def _says_something(cls, text: str) -> str | None:
        return _not_blank(text)

    @field_validator("context")
    @classmethod
    def _context_exists(cls, name: str | None) -> str | None:
        if name is not None:
            _known(name)
        return name

    @field_validator("provenance", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _untangled(value)


class PairRow(BaseModel):
    """Two answers to a prompt, one preferred: an example of preference training.

    Attributes:
        id: unique in the file.
        prompt: the user turn.
        chosen, rejected: the answers.
        label: probability that `chosen` is the better one; 1 is a hard preference.
        chosen_complete, rejected_complete: whether the answers ended by themselves (see `SftRow.complete`).
        kind, category: of the prompt.
        provenance: how the answers and the label came about; free, JSON.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    label: float = Field(default=1.0, ge=0, le=1)
    chosen_complete: bool = True
    rejected_complete: bool = True
    kind: Kind
    category: str = "default"
    provenance: dict[str, Any] = {}

    @field_validator("chosen", "rejected")
    @classmethod
    def _says_something(cls, text: str) -> str | None:
        return _not_blank(text)

    @field_validator("provenance", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return _untangled(value)


def _not_blank(text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise ValueError("the text is empty")
    return text


def _untangled(value: Any) -> Any:
    """Tables have no nested columns: there the provenance is JSON text."""
    return json.loads(value) if isinstance(value, str) else value


def _known(name: str) -> None:
    try:
        load_constitution(name)
    except CopsdError as error:
        raise ValueError(str(error).rstrip(".?")) from error


def constitution_of(row: PromptRow) -> str:
    """The constitution of a row: the one it names, else the one of a safety row's category, else `default`."""
    if row.constitution is not None:
        return row.constitution
    matched = row.kind == "safety" and row.category in constitution_names()
    return row.category if matched else "default"


SEED = Path(__file__).parent / "seed"


def seed_prompts(kinds: Sequence[Kind] = ("safety", "over_refusal", "general")) -> list[PromptRow]:
    """The corpus written for this project, kind by kind."""
    return [row for kind in kinds for row in read_prompts(SEED / f"{kind}.jsonl")]


def read_prompts(path: Path) -> list[PromptRow]:
    """Prompts of a jsonl, csv or parquet file.

    Raises:
        CopsdError: no such file, no rows, a broken line, a wrong field (file, line and field), an id twice.
    """
    return _read(path, PromptRow)


def read_sft(path: Path) -> list[SftRow]:
    """Examples of a jsonl, csv or parquet file; raises as `read_prompts`."""
    return _read(path, SftRow)


def read_pairs(path: Path) -> list[PairRow]:
    """Pairs of a jsonl, csv or parquet file; raises as `read_prompts`."""
    return _read(path, PairRow)


def pairs_beside(corpus: Path) -> Path:
    """Where a builder that also makes pairs puts them."""
    return corpus.with_name("pairs.jsonl")


def require_both_sides(rows: Iterable[PromptRow | SftRow], what: str) -> None:
    """Refuse a corpus that is empty or knows one side only: trained on it, a model learns to refuse, or not to.

    Args:
        rows: the corpus.
        what: name of the corpus, for the message.

    Raises:
        CopsdError: there is no safety row, or nothing but safety rows.
    """
    counts = Counter(row.kind for row in rows)
    others = counts["over_refusal"] + counts["general"]
    if counts["safety"] and others:
        return
    has = f"{counts['safety']} safety rows and {others} others" if counts else "no rows"
    raise CopsdError(
        f"{what} has {has}; give at least one row of kind safety and one of kind general or over_refusal.",
        ExitCode.DATA,
    )


def write_rows(path: Path, rows: Sequence[PromptRow | SftRow | PairRow]) -> None:
    """Write rows as jsonl or parquet (by the name's ending) in one step; nested fields of a table are JSON text."""
    from copsd_bench.cachedir import write_atomic

    rows = [_relative(row, path) for row in rows]
    seen = any(not isinstance(row, PairRow) and row.image for row in rows)
    unused = None if seen else {"image", "image_sha256"}
    if path.suffix == ".jsonl":
        write_atomic(path, "".join(row.model_dump_json(exclude=unused) + "\n" for row in rows).encode())
        return
    if path.suffix != ".parquet":
        raise CopsdError(f"Corpus {path} has the extension {path.suffix or '(none)'!r}; use .jsonl or .parquet.")
    import pyarrow
    import pyarrow.parquet

    buffer = pyarrow.BufferOutputStream()
    table = pyarrow.Table.from_pylist([_flat(row.model_dump(exclude=unused)) for row in rows])
    pyarrow.parquet.write_table(table, buffer)
    write_atomic(path, buffer.getvalue().to_pybytes())


def _relative(row: PromptRow | SftRow | PairRow, path: Path) -> PromptRow | SftRow | PairRow:
    """A row for a file: its image is found from there."""
    if isinstance(row, PairRow) or row.image is None:
        return row
    return row.model_copy(update={"image": os.path.relpath(row.image, path.parent)})


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value for key, value in row.items()
    }


Row = TypeVar("Row", PromptRow, SftRow, PairRow)


def _read(path: Path, model: type[Row]) -> list[Row]:
    rows: dict[str, Row] = {}
    for line, raw in _raw_rows(path):
        if set(raw) == {"canary"}:
            continue
        # An empty cell of a table is a field that was not given.
        given = {key: value for key, value in raw.items() if value is not None and value != ""}
        given.setdefault("id", f"{path.stem}-{line}")
        if model is PromptRow:
            given.setdefault("source", path.name)
        try:
            row = model.model_validate(given, strict=path.suffix != ".csv")  # a csv has text only
        except ValidationError as error:
            field, what = first_problem(error)
            raise CopsdError(f"{path} line {line} is wrong at {field}: {what}.", ExitCode.DATA) from error
        row = _with_image(row, path, line)
        if row.id in rows:
            raise CopsdError(f"{path} line {line} is wrong at id: {row.id!r} occurs twice.", ExitCode.DATA)
        rows[row.id] = row
    if not rows:
        fields = ", ".join(name for name, field in model.model_fields.items() if field.is_required() and name != "id")
        raise CopsdError(f"{path} has no rows; give at least one with the fields {fields}.", ExitCode.DATA)
    return list(rows.values())


def _with_image(row: Row, path: Path, line: int) -> Row:
    """The row with the path of its image that opens from here, and the digest of what it holds."""
    if isinstance(row, PairRow) or row.image is None:
        return row
    where = f"{path} line {line} is wrong at image"
    image = (path.parent / row.image).resolve()
    if not image.is_file():
        raise CopsdError(f"{where}: there is no file {image}.", ExitCode.DATA)
    found = file_sha256(image)
    if row.image_sha256 not in (None, found):
        raise CopsdError(f"{where}: {image} has sha256 {found[:16]}..., not the one recorded.", ExitCode.DATA)
    return row.model_copy(update={"image": str(image), "image_sha256": found})


def _raw_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        raise CopsdError(f"There is no corpus file {path}; check the path.", ExitCode.DATA)
    if path.suffix not in FORMATS:
        raise CopsdError(f"Corpus {path} has the extension {path.suffix or '(none)'!r}; use {', '.join(FORMATS)}.")
    if path.suffix == ".parquet":
        from copsd_bench.sources.formats import parse

        return enumerate(parse(path.read_bytes(), str(path)), start=1)
    from copsd_bench.judges.tables import read_rows

    return read_rows(path, required=())
