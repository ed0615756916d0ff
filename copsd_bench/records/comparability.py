"""Which records may be compared: what must agree, named field by field.

Weights and adapter are what a comparison is about, and package versions and hardware are informative. Engine, dtype and
device change answers only through rounding; that is noise the statistics must withstand anyway, so a difference is a
warning, not a refusal. Everything else below changes the question asked, and must agree unless it is declared as the
thing that is varied (`--vary constitution`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.records.schema import IMAGE_SHA256, ReferenceInfo, RunRecord, TaskRecord

FIELDS: dict[str, str] = {
    "version": "version of the task",
    "dataset.name": "data set",
    "dataset.revision": "revision of the data, where its content is not known",
    "dataset.sha256": "content of the data",
    "generation": "token limit and sampling (one by one: generation.max_tokens, or just max_tokens)",
    "judges": "who judged (one by one: judges.refusal)",
    "constitution": "the text the tested model saw: mode, digest, placement",
    "respond": "how the model answered: directly, or by reframing",
    "template": "chat template",
    "epochs": "answers per item",
    "reference": "what the model was measured against: name, weights, constitution",
    "samples": "the items; varied, the comparison is on those in common",
    "images": "the images of the items that are in both",
}
"""Fields that must agree, with what they mean: the values `--vary` takes."""

ASKING = ("inspect-evals", "lm-eval")
"""Packages that the wording of questions, few-shot examples and checkers come from."""

Key = dict[str, Any]


def task_key(record: RunRecord, task: TaskRecord) -> Key:
    """The comparability key of one task of a run: field -> value, with dotted names for the parts of a field."""
    constitution, dataset, own = record.constitution, task.dataset, ("seed", "respond")
    return {
        "version": task.version,
        "dataset.name": dataset.name,
        # Of known content a revision says only where it came from: a mirror and the hub may hold the same.
        "dataset.revision": "" if dataset.sha256 else dataset.revision,
        "dataset.sha256": dataset.sha256,
        # A seed is one draw of the same experiment, and the noise between draws is what the intervals measure.
        **{f"generation.{name}": value for name, value in sorted(task.generation.items()) if name not in own},
        "respond": task.generation.get("respond", "direct"),
        **{f"judges.{role}": judge for role, judge in sorted(task.judges.items())},
        "constitution.mode": constitution.mode,
        "constitution.digest": constitution.digest,
        "constitution.placement": constitution.placement,
        "template": record.model.template_digest,
        "epochs": record.epochs,
        **_reference_key(task.reference),
        "samples": frozenset(row.id for row in task.samples),
        "images": frozenset((row.id, row.tags[IMAGE_SHA256]) for row in task.samples if IMAGE_SHA256 in row.tags),
    }


def _reference_key(reference: ReferenceInfo | None) -> Key:
    if reference is None:
        return {}
    # `self` and `constitution:NAME` are the tested weights in both records, and those may differ.
    follows = reference.name == "self" or reference.name.startswith("constitution:")
    return {
        "reference.name": reference.name,
        "reference.weights": None if follows else reference.model.weights_digest,
        "reference.adapter": None if follows else reference.model.adapter_digest,
        "reference.constitution": None if reference.name == "self" else reference.constitution.digest,
    }


def differences(base: RunRecord, other: RunRecord, vary: Sequence[str] = (), tasks: Iterable[str] = ()) -> list[str]:
    """Why two records may not be compared: one line a differing field, e.g. `mini: generation.max_tokens is 160 / 256`.

    Args:
        vary: fields declared as varied (see `FIELDS`); `generation` covers all its parts, `max_tokens` is one of them.
        tasks: names of the tasks to look at; those in both records if empty.

    Raises:
        CopsdError: `vary` names no field.
    """
    keys = {name: (task_key(base, a), task_key(other, b)) for name, a, b in common_tasks(base, other)}
    _check_vary(vary, {field for pair in keys.values() for key in pair for field in key})
    wanted = set(tasks) or set(keys)
    return [
        f"{name}: {field} {_difference(a.get(field), b.get(field))}"
        for name, (a, b) in keys.items()
        if name in wanted
        for field in dict.fromkeys([*a, *b])
        if _differ(field, a.get(field), b.get(field)) and not is_varied(field, vary)
    ]


def warnings(base: RunRecord, other: RunRecord) -> list[str]:
    """Differences that change answers through rounding, or might have changed a question: a line, no refusal."""
    found = [
        f"{field} differs ({a or 'unknown'} / {b or 'unknown'}): answers may differ by rounding."
        for field in ("engine", "engine_args", "dtype", "device")
        if (a := getattr(base.model, field)) != (b := getattr(other.model, field))
    ]
    mine, theirs = base.environment.packages, other.environment.packages
    return found + [
        f"{package} differs ({mine[package]} / {theirs[package]}): check that its prompts and checkers did not change."
        for package in ASKING
        if package in mine and package in theirs and mine[package] != theirs[package]
    ]


def common_tasks(base: RunRecord, other: RunRecord) -> list[tuple[str, TaskRecord, TaskRecord]]:
    """Tasks both records have, in the base's order."""
    theirs = {task.name: task for task in other.tasks}
    return [(task.name, task, theirs[task.name]) for task in base.tasks if task.name in theirs]


def is_varied(field: str, vary: Sequence[str]) -> bool:
    """Whether a field of a key is covered by the declared ones."""
    return any(field == name or field.startswith(f"{name}.") or field.split(".")[-1] == name for name in vary)


def _check_vary(vary: Sequence[str], present: set[str]) -> None:
    valid = {*FIELDS, *present, *(field.split(".")[-1] for field in present if field.startswith("generation."))}
    for name in vary:
        if name in ("weights", "adapter", "model"):
            raise CopsdError(f"`--vary {name}` is not needed: weights and adapter may always differ.")
        if name in ("engine", "dtype", "device"):
            raise CopsdError(f"`--vary {name}` is not needed: a difference is a warning only.")
        if name not in valid:
            raise unknown_name("field to vary", name, valid)


def _differ(field: str, a: Any, b: Any) -> bool:
    """Whether two values of a field keep records apart; of images only those of common items count."""
    if field == "images":
        mine, theirs = dict(a or ()), dict(b or ())
        return any(theirs.get(item, image) != image for item, image in mine.items())
    return bool(a != b)


def _difference(a: Any, b: Any) -> str:
    if isinstance(a, frozenset) and isinstance(b, frozenset):
        return f"differ ({len(a - b)} only in the first, {len(b - a)} only in the second, {len(a & b)} in both)"
    return f"is {shortened(a)} / {shortened(b)}"


def shortened(value: Any) -> str:
    """A field's value in a message: digests cut to twelve digits."""
    if isinstance(value, frozenset):
        return f"{len(value)} items"
    text = "not given" if value in (None, "") else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
