"""`copsd-bench check`: the regression gate."""

from pathlib import Path
from typing import Annotated

import typer

from copsd_bench.commands._show import ReportFormat, show
from copsd_bench.errors import CopsdError


def check(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="Record of the model to judge.", show_default=False)],
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Record it is judged against; without it the reference whose answers the record holds.",
            metavar="RECORD",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(help="Rules in YAML; without it the packaged ones.", metavar="FILE", show_default=False),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="A setting that differs on purpose, as in `compare`. May be repeated.", metavar="FIELD"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show the healthy findings too.")] = False,
    form: Annotated[ReportFormat, typer.Option("--format", help="Output format.")] = ReportFormat.table,
    out: Annotated[Path | None, typer.Option(help="Write to a file instead of the terminal.")] = None,
) -> None:
    """Judge a model against a baseline, or against its own reference: healthy, or damaged and how.

    A rule is red only if the change lies beyond its margin and outside noise (95 % interval, paired on items). The
    packaged rules are `copsd_bench/data/gate.yaml`: a documented file to copy, edit and give with `--rules`. The line
    `Collapse:` says what the red rules add up to: `contracting` is one kind of damage within its harder margin,
    `collapsed` two kinds or one beyond it.

    Exit codes: 0 healthy, 1 regression or collapse, 2 not comparable or unusable, 3 undecided (too few items).

    Example: `copsd-bench check run.json --baseline results/baselines/smollm2-135m.json`

    Example: `copsd-bench check collapse.json`   (a record of the suite `collapse`, which holds a reference)
    """
    from copsd_bench.records import gate
    from copsd_bench.records.gate_table import gate_parts
    from copsd_bench.records.rules import load_rules
    from copsd_bench.records.store import read_record

    if baseline is None and vary:
        raise CopsdError("--vary is for --baseline RECORD: a record and its own reference have nothing to declare.")
    if baseline is None:
        result = gate.check_reference(read_record(record), load_rules(rules))
    else:
        result = gate.check(read_record(baseline), read_record(record), load_rules(rules), tuple(vary or ()))
    show(gate_parts(result, everything), form, out, {"json": lambda: result.model_dump_json(indent=1)})
    raise typer.Exit(int(result.exit_code))
