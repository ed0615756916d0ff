"""Where the numbers come from: models, data, judges, settings, software and commands, a column a record."""

import shlex
from collections.abc import Callable, Sequence

from copsd_bench import __version__
from copsd_bench.records.format import MISSING
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo, ReferenceInfo, RunRecord
from copsd_bench.report.sides import Side

_DIGITS = 12  # of a digest, as in git


def provenance(sides: Sequence[Side]) -> list[Grid]:
    """Tables of the runs, of their tasks and of the software."""
    runs = [(side, side.record) for side in sides if side.record is not None]
    return [_runs(runs), _tasks(runs), _software(runs)]


def _runs(runs: Sequence[tuple[Side, RunRecord]]) -> Grid:
    rows: dict[str, Callable[[RunRecord], str]] = {
        "Model": lambda run: run.model.name,
        "Weights": lambda run: _short(run.model.weights_digest),
        "Adapter": lambda run: _with_digest(run.model.adapter, run.model.adapter_digest),
        "Chat template": lambda run: _short(run.model.template_digest),
        "Engine": lambda run: " ".join(filter(None, [run.model.engine, run.model.dtype, run.model.device])),
        "Constitution": lambda run: _constitution(run.constitution),
        "Reference": _references,
        "Seed, epochs": lambda run: f"{run.seed}, {run.epochs}",
        "Created": lambda run: f"{run.created:%Y-%m-%d %H:%M} UTC",
        "Run": lambda run: _short(run.run_id),
        "Seconds": lambda run: f"{run.seconds:.0f}",
        "Command": lambda run: shlex.join(run.command),
    }
    grid = Grid("Runs", ["", *(side.label for side, _ in runs)], texts=1 + len(runs))
    for name, of in rows.items():
        grid.add(name, *(of(record) or MISSING for _, record in runs))
    return grid


def _tasks(runs: Sequence[tuple[Side, RunRecord]]) -> Grid:
    headings = ["Task", "Run", "Data", "sha256", "Items", "Settings", "Judges", "Licence"]
    grid = Grid("Tasks", headings, texts=len(headings))
    for side, record in runs:
        for task in record.tasks:
            data = task.dataset
            grid.add(
                f"{task.name} (version {task.version})",
                side.label,
                " ".join(filter(None, [data.name, data.source, data.revision[:_DIGITS]])),
                _short(data.sha256),
                f"{data.used} of {data.count}",
                ", ".join(f"{name} {value}" for name, value in task.generation.items()) or MISSING,
                ", ".join(f"{score}: {judge}" for score, judge in task.judges.items()) or MISSING,
                data.licence or MISSING,
            )
    return grid


def _software(runs: Sequence[tuple[Side, RunRecord]]) -> Grid:
    grid = Grid("Software and hardware", ["", *(side.label for side, _ in runs)], texts=1 + len(runs))
    environments = [record.environment for _, record in runs]
    grid.add("Python", *(found.python or MISSING for found in environments))
    grid.add("Platform", *(found.platform or MISSING for found in environments))
    grid.add("Hardware", *(found.hardware or MISSING for found in environments))
    grid.add("Commit", *((found.git_commit or MISSING)[:_DIGITS] for found in environments))
    for name in sorted({name for found in environments for name in found.packages}):
        grid.add(name, *(found.packages.get(name, MISSING) for found in environments))
    grid.add("This page", *(f"copsd-bench {__version__}" for _ in runs))
    return grid


def _references(record: RunRecord) -> str:
    found: dict[str, ReferenceInfo] = {task.reference.name: task.reference for task in record.tasks if task.reference}
    return "; ".join(f"{name}: {_reference_model(info.model)}, seed {info.seed}" for name, info in found.items())


def _reference_model(model: ModelInfo) -> str:
    return f"{_with_digest(model.name, model.weights_digest)}" + (f" + {model.adapter}" if model.adapter else "")


def _constitution(info: ConstitutionInfo) -> str:
    return "none" if info.mode == "none" else f"{info.mode} in the {info.placement} turn ({_short(info.digest)})"


def _with_digest(name: str | None, digest: str | None) -> str:
    return f"{name} ({_short(digest)})" if name else ""


def _short(digest: str | None) -> str:
    return (digest or "")[:_DIGITS]
