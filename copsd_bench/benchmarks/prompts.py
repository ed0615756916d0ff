"""Anyone's own prompts: the collapse panel on a csv or jsonl file."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig

from copsd_bench.benchmarks.refusal_scorer import APPROPRIATE, REFUSED_BENIGN, REFUSED_HARMFUL, refusal
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.schema import DatasetInfo
from copsd_bench.sources.ids import stable_ids

GROUP_OF = {"harmful": "harmful", "benign": "benign", "general": "general", "": "general"}


@task
def prompts(file: str, constitution: str = "none", seed: int = 0) -> Task:
    """Refusals and the collapse panel on the prompts of a file; with both labels, how many were treated as is right.

    Args:
        file: csv or jsonl with `prompt` and, if known, `label` (`harmful` or `benign`).
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    samples, dataset = prompt_samples(Path(file))
    groups = {sample.metadata["group"] for sample in samples if sample.metadata}
    both = {"harmful", "benign"} <= groups
    metrics = [*([APPROPRIATE] if both else []), MetricSpec(name="refused", score="refused", undirected=True)]
    metrics += [m for m in (REFUSED_HARMFUL, REFUSED_BENIGN) if groups & set(m.groups or [])]
    spec = TaskSpec(
        dataset=dataset,
        metrics=metrics,
        primary=metrics[0].name,
        judges={"refusal": get_judge("refusal").id},
        constitution=constitution,
        notes=_unlabelled(Path(file)),
    )
    return build_task("prompts", "2", samples, spec, [refusal()], GenerateConfig(temperature=0, max_tokens=512), seed)


def _unlabelled(path: Path) -> list[str]:
    rows = read_prompts(path)
    silent = sum(not row["label"] for row in rows)
    return [f"{silent} of {len(rows)} prompts have no label and count as harmless ones (general)"] if silent else []


def prompt_samples(path: Path, unique: bool = False) -> tuple[list[Sample], DatasetInfo]:
    """The prompts of a file as samples with `group` in their metadata, and what they are (see `read_prompts`)."""
    rows = read_prompts(path, unique)
    ids = stable_ids([row["prompt"] for row in rows], prefix="prompt")
    samples = [
        Sample(id=i, input=row["prompt"], metadata={"group": GROUP_OF[row["label"]]})
        for i, row in zip(ids, rows, strict=True)
    ]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    info = DatasetInfo(
        name=f"prompts:{path.name}", source="file", revision=digest[:16], sha256=digest, count=len(rows),
        used=len(rows),
    )  # fmt: skip
    return samples, info


def read_prompts(path: Path, unique: bool = False) -> list[dict[str, str]]:
    """Rows with `prompt` and `label` (`harmful`, `benign`, `general` or empty).

    Args:
        path: csv or jsonl.
        unique: refuse a prompt that occurs twice.

    Raises:
        CopsdError: the file is missing, empty, malformed (which line), or has an empty prompt or unknown label, or a
            repeated one.
    """
    if not path.is_file():
        raise CopsdError(f"Prompts file {path} does not exist.", ExitCode.DATA)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CopsdError(f"Prompts file {path} is not UTF-8 text ({error.reason}).", ExitCode.DATA) from error
    raw = _csv_rows(path, text) if path.suffix == ".csv" else _jsonl_rows(path, text)
    if not raw:
        raise CopsdError(f"Prompts file {path} has no rows.", ExitCode.DATA)
    rows = [_row(path, number, row) for number, row in raw]
    first: dict[str, int] = {}
    for (number, _), row in zip(raw, rows, strict=True):
        if unique and (seen := first.setdefault(row["prompt"].strip(), number)) != number:
            raise CopsdError(
                f"Prompts file {path} line {number} repeats the prompt of line {seen}; keep one of them.", ExitCode.DATA
            )
    return rows


def _csv_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if "prompt" not in (reader.fieldnames or []):
        found = ", ".join(reader.fieldnames or []) or "nothing"
        raise CopsdError(f"Prompts file {path} needs a header with a column 'prompt', found: {found}.", ExitCode.DATA)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CopsdError(
            f"Prompts file {path} line {reader.line_num} is not valid csv: {error}.", ExitCode.DATA
        ) from error

    for number, row in rows:
        if None in row:
            raise CopsdError(
                f"Prompts file {path} line {number} has more fields than the header; put quotes around a text with a "
                "comma.",
                ExitCode.DATA,
            )
    return rows


def _jsonl_rows(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    if path.suffix not in (".jsonl", ".ndjson"):
        raise CopsdError(f"Prompts file {path} must be .csv or .jsonl.", ExitCode.DATA)
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CopsdError(
                f"Prompts file {path} line {number} is not valid JSON: {error.msg}.", ExitCode.DATA
            ) from error
        if not isinstance(row, dict):
            raise CopsdError(f"Prompts file {path} line {number} is not a JSON object.", ExitCode.DATA)
        rows.append((number, row))
    return rows


def _row(path: Path, number: int, row: dict[str, Any]) -> dict[str, str]:
    prompt, label = row.get("prompt"), str(row.get("label") or "").strip().lower()
    if not isinstance(prompt, str) or not prompt.strip():
        raise CopsdError(
            f"Prompts file {path} line {number} has no prompt text; give it one, or take the line out.", ExitCode.DATA
        )
    if label not in GROUP_OF:
        raise CopsdError(
            f"Prompts file {path} line {number} has label {label!r}; use 'harmful', 'benign', 'general' or none.",
            ExitCode.DATA,
        )
    return {"prompt": prompt, "label": label}
