"""`copsd-bench score`: the same scorers and panel on answers that exist already."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def score(
    task: Annotated[str, typer.Argument(help="Task the answers belong to (see `copsd-bench list`).")],
    responses: Annotated[
        Path,
        typer.Option(
            help="jsonl: `id` or `input`, `response`; optional `output_tokens`, `stop_reason`.", metavar="FILE"
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Who answered; default: the file's name.", show_default=False)
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="`refusal` (offline, the default), a model that grades, or `FORMAT:MODEL`.")
    ] = None,
    unsafe_local_exec: Annotated[
        bool, typer.Option("--unsafe-local-exec", help="Run code in the answers on this machine, with limits only.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of records and logs.")] = Path("runs"),
) -> None:
    """Score answers that exist already, without generating.

    Writes a normal record. What the file does not say (token counts, stop reasons, entropy) stays unscored, never
    zero. Answers to some of the items are scored as they are, and the record says how many.

    Example: `copsd-bench score xstest --responses answers.jsonl --name my-model`.
    """
    from rich.console import Console

    from copsd_bench.records.table import print_results
    from copsd_bench.replay import plan_responses
    from copsd_bench.run import execute

    display = "rich" if sys.stdout.isatty() else "plain"
    planned = plan_responses(task, responses, name or responses.stem, judge, out, display, unsafe_local_exec)
    record = execute(planned, ["copsd-bench", *sys.argv[1:]])
    console = Console()
    print_results(record, console)
    console.print(f"Record: {planned.record_path}")
