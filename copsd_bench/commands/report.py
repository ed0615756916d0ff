"""`copsd-bench report`: records as one web page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="RECORD...", help="Records: base, teacher, students ... in this order."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("report.html"),
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Rules of the gate in YAML; without it the packaged ones.", metavar="FILE", show_default=False
        ),
    ] = None,
    logs: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of Inspect logs with the answers' texts, one a record in their order; without it `logs` "
            "beside each record.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    show_harmful: Annotated[bool, typer.Option("--show-harmful", help="Show answers to harmful requests too.")] = False,
) -> None:
    """Write one self-contained page: verdict, charts with intervals, answers side by side, provenance.

    The page needs no network and runs no script. What a record did not measure is not drawn; the page names the command
    that measures it. Texts come from Inspect's logs beside the records, as records hold none.

    Example: `copsd-bench report base.json student.json -o report.html`
    """
    from copsd_bench.commands._show import file_named
    from copsd_bench.errors import CopsdError
    from copsd_bench.records.rules import load_rules
    from copsd_bench.records.store import read_record, write_text
    from copsd_bench.report.page import report as page

    file_named("--out", out)
    if logs and len(logs) != len(records):
        raise CopsdError(f"{len(logs)} --logs were given for {len(records)} records; give one for each.")
    for folder in logs or []:
        if not folder.is_dir():
            raise CopsdError(f"There is no folder {folder} of logs; give the one `copsd-bench run` named.")
    found = [read_record(path) for path in records]
    folders = logs or [path.parent / "logs" / record.run_id[:16] for path, record in zip(records, found, strict=True)]
    write_text(out, page(found, [f if f.is_dir() else None for f in folders], load_rules(rules), show_harmful))
    print(f"Page: {out}")
