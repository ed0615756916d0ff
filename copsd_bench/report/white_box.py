"""What only the weights tell: both KL directions by token position, and leakage by layer."""

from collections.abc import Sequence

from copsd_bench.records.schema import Series, TaskRecord
from copsd_bench.report.chart import Chart
from copsd_bench.report.forest import Row, forest
from copsd_bench.report.lines import Line, lines
from copsd_bench.report.section import Section, command_for, facts
from copsd_bench.report.sides import Side

DIRECTIONS = {
    "kl_model_reference": "KL(model‖reference)",
    "kl_reference_model": "KL(reference‖model)",
}
ENTROPIES = {"entropy": "", "reference_entropy": ""}
SAMPLED = {"on_model": "on the model's answers", "on_reference": "on the reference's answers"}
MOVED = {
    "contraction": "effective choices per token, model over reference",
    "mode_seeking": "from −1 to 1; above 0 the model dropped what the reference would say, below 0 it says new things",
    "dropped_mass": "of the reference's probability lies outside the model's nucleus",
}
LEAKED = {
    "leakage_correlation": "how closely expressiveness moves with safety, over prompts and rollouts",
    "leakage_slope": "how far expressiveness moves for a step of safety",
}
LAYERS = {
    "direction_cosine": "Cosine of refusal and verbosity directions",
    "refusal_drift": "Drift along the refusal direction",
    "verbosity_drift": "Drift along the verbosity direction",
}

_CLASS_STYLE = 5  # styles of prompt classes, apart from those of the first runs


def divergence(sides: Sequence[Side]) -> Section:
    """Both directions of the divergence, by token position and as means."""
    section = Section(
        "divergence",
        "Which way it moved: both KL directions",
        "Exact, over the whole vocabulary. KL(model‖reference) is large where the model says what the reference would "
        "not; KL(reference‖model) where it no longer says what the reference would: dropped modes, the "
        "mark of collapse.",
    )
    measured = [(side, task) for side in sides if (task := side.task("kl_direction"))]
    if not measured:
        section.missing = ("Divergence from the reference", command_for(sides, "kl_direction"))
    section.facts = facts(sides, "kl_direction", MOVED)
    for name, label in DIRECTIONS.items():
        found = [
            Row(side.label, side.index, [task.metrics.get(f"{name}.{which}") for which in SAMPLED])
            for side, task in measured
        ]
        rows = [row for row in found if any(estimate and estimate.value is not None for estimate in row.estimates)]
        if rows:
            section.charts.append(forest(label, rows, label, list(SAMPLED.values())))
    for side, task in measured:
        section.charts += _by_position(side, task, several=len(measured) > 1)
    return section


def leakage(sides: Sequence[Side]) -> Section:
    """How much expressiveness moves when safety moves."""
    section = Section(
        "leakage",
        "Does safety leak into expressiveness?",
        "A statistic of this project: the coupling is postulated in the literature, not measured there. Behaviour: how "
        "verbosity moves with refusal. Representation: the refusal and the verbosity direction in the residual stream, "
        "layer by layer.",
    )
    measured = [(side, task) for side in sides if (task := side.task("leakage"))]
    section.facts = facts(sides, "leakage", LEAKED)
    for name, title in LAYERS.items():
        curves = [
            Line(side.label, side.index, curve)
            for side, task in measured
            for curve in task.series
            if curve.name == name and not curve.group
        ]
        if curves:
            section.charts.append(lines(title, curves))
    if not section.charts:
        section.missing = ("Leakage by layer", command_for(sides, "leakage"))
    return section


def _by_position(side: Side, task: TaskRecord, several: bool) -> list[Chart]:
    """For all prompts both directions and both entropies; then each direction by prompt class."""
    of = f": {side.label}" if several else ""
    base = side.bases["kl_direction"]
    # The model's side of each pair has the model's colour, the reference's side the reference's.
    owners = (side, base)
    charts = []
    for title, names in (("KL by token position", DIRECTIONS), ("Entropy by token position", ENTROPIES)):
        curves = [
            Line(label or owner.label, owner.index, curve)
            for (name, label), owner in zip(names.items(), owners, strict=True)
            if (curve := _series(task, name, ""))
        ]
        if curves:
            charts.append(lines(f"{title}{of}", curves, title.partition(" ")[0]))
    for name, label in DIRECTIONS.items():
        groups = [group for group in ("harmful", "benign", "general") if _series(task, name, group)]
        curves = [
            Line(f"{group} prompts", _CLASS_STYLE + i, curve)
            for i, group in enumerate(groups)
            if (curve := _series(task, name, group))
        ]
        if curves:
            charts.append(lines(f"{label} by prompt class{of}", curves, label))
    return charts


def _series(task: TaskRecord, name: str, group: str) -> Series | None:
    found = (curve for curve in task.series if curve.name == name and curve.group == group)
    return next((curve for curve in found if any(y is not None for y in curve.y)), None)
