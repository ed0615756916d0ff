"""Who stands on a page: every run, and every reference a run was measured against, each once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from copsd_bench.records.format import respond_name
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo, ReferenceInfo, RunRecord, SampleRow, TaskRecord

Identity = tuple[str, ...]
SELF = "self"
"""Name of a reference that is the tested model itself with another seed."""


@dataclass
class Side:
    """A run, or a reference that is known by its answers only.

    Attributes:
        label: short and unique on the page: what sets it apart from the others.
        index: decides its colour, marker and dash pattern everywhere.
        model, constitution: what it is.
        record: None for a reference that has no record on the page.
        answers: its sample rows by task.
        bases: by task, the side its answers are compared with.
    """

    model: ModelInfo
    constitution: ConstitutionInfo
    note: str = ""
    record: RunRecord | None = None
    index: int = 0
    label: str = ""
    answers: dict[str, list[SampleRow]] = field(default_factory=dict)
    bases: "dict[str, Side]" = field(default_factory=dict)

    def task(self, name: str) -> TaskRecord | None:
        """Its record of a task."""
        return next((task for task in (self.record.tasks if self.record else []) if task.name == name), None)


Known = dict[Identity, list[Side]]


def sides_of(records: Sequence[RunRecord]) -> list[Side]:
    """References first, then runs in the order given; the first run with a task is what later runs of it are set
    against where they have no reference of their own.
    """
    runs = [Side(record.model, record.constitution, respond_name(record), record=record) for record in records]
    known: Known = {}
    for side, record in zip(runs, records, strict=True):
        side.answers = {task.name: task.samples for task in record.tasks}
        known.setdefault(_identity(record.model, record.constitution, side.note), []).append(side)
    references: list[Side] = []
    for side, record in zip(runs, records, strict=True):
        for task in record.tasks:
            first = next(other for other in runs if task.name in other.answers)
            if task.reference is not None:
                side.bases[task.name] = _reference(task, task.reference, known, references)
            elif first is not side:
                side.bases[task.name] = first
    found = [*references, *runs]
    for i, side in enumerate(found):
        side.index = i
    _name(found)
    return found


def tasks_of(sides: Sequence[Side]) -> list[str]:
    """Names of the tasks somebody on the page answered, in order."""
    return list(dict.fromkeys(name for side in sides for name in side.answers))


def _identity(model: ModelInfo, constitution: ConstitutionInfo, note: str = "") -> Identity:
    return (
        model.weights_digest,
        model.adapter_digest or "",
        constitution.digest,
        constitution.placement,
        model.name if model.engine == "server" else "",
        note,
    )


def _reference(task: TaskRecord, info: ReferenceInfo, known: Known, references: list[Side]) -> Side:
    """The side a task was measured against: one on the page already, or a new one.

    The same model with other answers to the task (on other items, with other settings) is another side.
    """
    note = f"same model, seed {info.seed}" if info.name == SELF else ""
    same = known.setdefault(_identity(info.model, info.constitution, note), [])
    answers = task.reference_samples
    side = next((side for side in same if side.answers.get(task.name, answers) == answers), None)
    if side is None:
        side = Side(info.model, info.constitution, note)
        same.append(side)
        references.append(side)
    side.answers.setdefault(task.name, answers)
    return side


def _name(sides: Sequence[Side]) -> None:
    """Labels of what differs: model, adapter, constitution, note; the shared parts are left out."""
    parts = [_parts(side) for side in sides]
    shared = {i for i in range(len(parts[0])) if len({part[i] for part in parts}) == 1}
    for side, part in zip(sides, parts, strict=True):
        own = [text for i, text in enumerate(part) if text and i not in shared]
        whole = " · ".join(text for text in part if text)
        side.label = " · ".join(own) or (whole if len(sides) == 1 or any(part[1:]) else "base")
    for label in {side.label for side in sides}:
        same = [side for side in sides if side.label == label]
        if len(same) > 1:
            for i, side in enumerate(same):
                side.label += f" ({side.record.run_id[:6] if side.record else f'reference {i + 1}'})"


def _parts(side: Side) -> tuple[str, ...]:
    mode = side.constitution.mode
    context = (
        ""
        if mode == "none"
        else f"constitution {mode}"
        + (f" in the {side.constitution.placement} turn" if side.constitution.placement == "system" else "")
    )
    return side.model.name.rpartition("/")[2], (side.model.adapter or "").rpartition("/")[2], context, side.note
