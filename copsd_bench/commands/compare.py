"""`copsd-bench compare`: what changed between runs."""

from pathlib import Path
from typing import Annotated

import typer

from copsd_bench.commands._show import ReportFormat, show


def compare(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="Record of the run compared against.", show_default=False)
    ],
    others: Annotated[
        list[Path],
        typer.Argument(metavar="OTHER...", help="Records of the runs to compare with it.", show_default=False),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting that differs on purpose: constitution, generation, max_tokens, temperature, template, "
            "judges, samples (then on the items in common) ... May be repeated.",
            metavar="FIELD",
        ),
    ] = None,
    form: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.table,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead of the terminal.")] = None,
) -> None:
    """Compare runs with a base, item by item.

    Scores and the collapse panel (length, refusal, degeneration, diversity, entropy), each change with its 95 %
    interval; McNemar's test (of graded scores, a sign-flip test) on the scores, Holm's correction over the tasks. The
    line `Collapse:` is the verdict of `check` on the same items, by the packaged rules. Weights and
    adapter may differ; anything else that differs must be declared, or the records are refused (exit code 2) with the
    fields named.

    Example: `copsd-bench compare base.json tuned.json`

    Example: `copsd-bench compare base.json prompted.json --vary constitution --format markdown --out change.md`
    """
    import json

    from copsd_bench.records import compare as comparing
    from copsd_bench.records.store import read_record

    first = read_record(base)
    comparisons = [comparing.compare(first, read_record(path), vary or []) for path in others]
    show(
        [part for comparison in comparisons for part in comparing.comparison_parts(comparison)] + [comparing.LEGEND],
        form,
        out,
        {"json": lambda: json.dumps([item.model_dump(mode="json") for item in comparisons], indent=1)},
    )
