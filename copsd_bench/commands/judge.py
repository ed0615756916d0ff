"""`copsd-bench judge`: label existing answers, and measure the judge against people."""

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from copsd_bench.errors import CopsdError

if TYPE_CHECKING:
    from rich.table import Table

    from copsd_bench.judges.agreement import Agreement

app = typer.Typer(
    no_args_is_help=True,
    help="Judge answers that exist already, and measure the judge against people's labels.",
)

_BATCH = 512  # rows read, judged and written at once
_ADDED = ("label", "score", "reason")


@app.command()
def refusal(
    file: Annotated[Path, typer.Argument(help="A .csv or .jsonl file with the columns prompt and completion.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; `-` is stdout. Default: NAME.judged.EXT in the current folder."),
    ] = None,
    format: Annotated[
        Literal["csv", "jsonl"] | None, typer.Option(help="Output format. Default: the extension of OUT, or of FILE.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Put before the three new column names, for files that have one already.")
    ] = "",
) -> None:
    """Label refusals offline: no network, no language model, thousands of rows a second.

    Every row keeps its columns and gains **label** (full_refusal, partial_refusal, compliance, or degenerate: empty or
    looping), **score** (probability of a refusal, full or partial) and **reason** (what weighed most).

    Example: `copsd-bench judge refusal answers.jsonl --out judged.csv`
    """
    from rich.console import Console

    from copsd_bench.judges.protocol import Verdict
    from copsd_bench.judges.refusal import LABELS, RefusalJudge
    from copsd_bench.judges.tables import FORMATS, Format, Row, format_of, read_rows, writer

    source_kind = format_of(file)
    to_stdout = out is not None and str(out) == "-"
    target = None if to_stdout else out or Path(f"{file.stem}.judged.{format or source_kind}")
    named = target.suffix.lower().lstrip(".") if target is not None else ""
    kind: Format = format if format is not None else next((name for name in FORMATS if name == named), source_kind)
    if target is not None and target.resolve() == file.resolve():
        raise CopsdError(f"The output {target} is the input file; choose another --out.")

    judge = RefusalJudge()
    counts: Counter[str] = Counter()
    seconds = 0.0
    with writer(target, kind) as write:

        def judge_rows(rows: list[Row]) -> None:
            nonlocal seconds
            start = time.process_time()
            verdicts = judge.batch([row["prompt"] for row in rows], [row["completion"] for row in rows])
            seconds += time.process_time() - start
            for row, verdict in zip(rows, verdicts, strict=True):
                assert isinstance(verdict, Verdict)  # rules always decide
                counts[verdict.label] += 1
                added = (verdict.label, round(verdict.score, 4), verdict.reason)
                write(row | {prefix + name: value for name, value in zip(_ADDED, added, strict=True)})

        rows: list[Row] = []
        for line, row in read_rows(file, ("prompt", "completion")):
            taken = [prefix + name for name in _ADDED if prefix + name in row]
            if taken:
                raise CopsdError(
                    f"{file} line {line} has a column {taken[0]!r} already; name the new ones with --prefix refusal_."
                )
            rows.append(row)
            if len(rows) == _BATCH:
                judge_rows(rows)
                rows = []
        judge_rows(rows)

    console = Console(stderr=to_stdout)
    console.print(_summary(counts, LABELS))
    total = counts.total()
    speed = f", {total / seconds:,.0f} rows a second" if total >= _BATCH else ""
    console.print(f"{total} rows judged by {judge.id}{speed}; written to {target or 'stdout'}.", highlight=False)


@app.command()
def measure(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of CSV files. Default: $COPSD_DATA_DIR/XSTest/human_annotated.", show_default=False
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a README.")] = False,
) -> None:
    """Measure the refusal judge against people, on answers it was not trained on.

    Reads files in XSTest's published format (columns prompt, completion, final_label) and cross-validates over models
    and over prompts; refusal = full or partial. The row *as shipped* is evidence only for files that the shipped
    weights were not trained on; it says which they were.

    Example: `copsd-bench judge measure --markdown`
    """
    from rich.console import Console

    from copsd_bench.judges.agreement import PUBLISHED, default_folder, read_folder
    from copsd_bench.judges.refusal import RefusalJudge, load_weights
    from copsd_bench.judges.refusal.validation import SCHEMES, as_shipped, cross_validate

    sources = read_folder(folder or default_folder())
    results = cross_validate(sources)
    seen = set(load_weights().trained_on.values())
    lines: list[tuple[str, ...]] = []
    for i, source in enumerate(sources):
        for method, (accuracy, kappa) in PUBLISHED.get(source.model, {}).items():
            lines.append((source.model, method, _figure(accuracy), _figure(kappa), "", "", ""))
        lines += [(source.model, scheme, *_figures(results[scheme][i])) for scheme in SCHEMES]
        shipped = "as shipped (trained on this file)" if source.sha256 in seen else "as shipped (file not trained on)"
        lines.append((source.model, shipped, *_figures(as_shipped(source))))

    header = ("answers of", "labels from", "accuracy", "kappa", "95 % interval", "false / missed refusals", "3 labels")
    if markdown:
        print(_markdown(header, lines))
        return
    console = Console()
    console.print(_table(header, lines))
    for scheme, meaning in SCHEMES.items():
        console.print(f"  {scheme}: {meaning}.", highlight=False)
    start = time.process_time()
    for source in sources:
        RefusalJudge().batch(source.prompts, source.answers)
    total = sum(len(source.labels) for source in sources)
    console.print(f"Speed: {total / (time.process_time() - start):,.0f} rows a second on one core.", highlight=False)


def _figure(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def _figures(agreement: "Agreement") -> tuple[str, ...]:
    return (
        _figure(agreement.accuracy),
        _figure(agreement.kappa),
        f"{_figure(agreement.low)} to {_figure(agreement.high)}",
        f"{agreement.false_refusals} / {agreement.missed_refusals}",
        _figure(agreement.three_way),
    )


def _summary(counts: Counter[str], labels: tuple[str, ...]) -> "Table":
    from rich.table import Table

    table = Table("label", title="Refusal judge", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    for label in labels:
        table.add_row(label, str(counts[label]), f"{100 * counts[label] / max(1, counts.total()):.1f} %")
    return table


def _table(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> "Table":
    from rich.table import Table

    table = Table(title="Refusal judge against people (refusal = full or partial)", title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i < 2 else "right")
    previous = ""
    for line in lines:
        if previous and line[0] != previous:
            table.add_section()
        table.add_row(line[0] if line[0] != previous else "", *line[1:])
        previous = line[0]
    return table


def _markdown(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = ["---"] * 2 + ["---:"] * (len(header) - 2)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))
