"""The ranking of candidate contexts as tables."""

from copsd_bench.records.format import MISSING, interval, number
from copsd_bench.records.grid import Grid
from copsd_train.candidates import PromptClass
from copsd_train.flip_rate import WRONG, ClassFlips, FlipReport

LEGEND = (
    "Flip rate: share of the base's wrong answers that are right under the context, with its 95 % interval; n: those "
    "answers. Of all: the same flips as a share of all prompts. Behind: difference to the first, paired on prompts. "
    "Spoiled: right answers that are wrong under the context. Degen: answers that are empty or loop. All in per cent."
)


def flip_parts(report: FlipReport) -> list[Grid | str]:
    """A table a class of prompts, the best context first, and a legend."""
    parts: list[Grid | str] = []
    for name, found in report.classes.items():
        parts += [_grid(name, found)]
        if not found.base[WRONG[name]].value:
            parts.append(
                f"The base has no answer to {name} prompts that is {WRONG[name]}, so no context can turn one round: "
                "the order is by what contexts spoil.\n"
            )
    return [*parts, LEGEND]


def _grid(name: PromptClass, found: ClassFlips) -> Grid:
    base = ", ".join(f"{reaction} {number(share.value, 'fraction')} %" for reaction, share in found.base.items())
    grid = Grid(
        f"{name.capitalize()} prompts ({found.prompts}; base: {base})",
        ["Context", "Flip rate", "n", "Of all", "Behind", "Spoiled", "Degen"],
    )
    for i, one in enumerate(found.ranking):
        grid.add(
            one.context,
            interval(one.flip_rate),
            str(one.flip_rate.n),
            number(one.of_all.value, "fraction"),
            MISSING if one.behind is None else interval(one.behind, signed=True),
            number(one.spoiled.value, "fraction"),
            number(one.degenerate.value, "fraction"),
            style="bold" if i == 0 and one.flip_rate.value else "",
        )
    return grid
