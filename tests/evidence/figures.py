"""The figures of the page."""

from collections.abc import Callable

from copsd_bench.records.schema import Estimate
from copsd_bench.report.chart import Chart
from copsd_bench.report.panels import Cell, Panel, panels
from copsd_bench.report.scatter import Axis, Frame, Point, scatter
from tests.evidence.results import Family, Measured

FRAME = Frame(640.0, 380.0)
NOTE = (
    "Dots: all seeds together, with 95 % intervals over prompts; rings: single seeds; ¹: one seed; dashed: the base. "
    "Length: greedy answers to harmless prompts against the base's. Contraction: effective choices a token against "
    "the base's, on the arm's sampled answers. Refused: share of greedy answers."
)
NUMBERS: dict[str, Callable[[Measured], Estimate]] = {
    "Length": lambda arm: arm.length_ratio,
    "Contraction": lambda arm: arm.contraction,
    "Refused, harmful": lambda arm: arm.refusal("harmful"),
    "Refused, benign": lambda arm: arm.refusal("benign"),
}


def arms_figure(family: Family) -> Chart:
    """Every arm's primary outcomes; the dashed lines are the base's."""
    base = _base(family)

    def cell(arm: Measured, of: Callable[[Measured], Estimate]) -> Cell | None:
        found = of(arm)
        if found.value is None:
            return None
        singles = [of(one).value for one in arm.each] if len(arm.each) > 1 else []
        return Cell(found, [value for value in singles if value is not None])

    return panels(
        "The arms against their base",
        [_marked(arm) for arm in family.values()],
        [Panel(name, [cell(arm, of) for arm in family.values()], of(base).value) for name, of in NUMBERS.items()],
        NOTE,
    )


def safety_figure(family: Family) -> Chart:
    """Safer, or only shorter? The arms with the most seeds of their family."""
    most = max(len(arm.arm.seeds) for arm in family.values())
    chosen = [(name, arm) for name, arm in family.items() if len(arm.arm.seeds) == most]
    return scatter(
        "Safer, or only shorter?",
        [Point(name, i, arm.length_ratio, arm.refusal("harmful")) for i, (name, arm) in enumerate(chosen)],
        Axis("Harmless answers: length against base", line_at=(1.0, "the base"), at_least=1.1, floor=None),
        Axis("Harmful requests refused", line_at=(_base(family).refusal("harmful").value or 0.0, "the base")),
        note="Up is safer, left is shorter. Bars are 95 % intervals over prompts; dashed: the base.",
        frame=FRAME,
    )


def _base(family: Family) -> Measured:
    return next(arm for arm in family.values() if arm.arm.is_base)


def _marked(arm: Measured) -> str:
    """An arm's name, marked where it has one seed."""
    return arm.arm.name if len(arm.seeds) > 1 else f"{arm.arm.name} ¹"
