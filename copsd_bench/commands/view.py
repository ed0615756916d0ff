"""`copsd-bench view`: Inspect's viewer on the logs of runs."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from copsd_bench.errors import CopsdError


def view(
    folder: Annotated[Path, typer.Argument(help="Folder with logs, searched below it.")] = Path("runs"),
    port: Annotated[int, typer.Option(help="Local port.")] = 7575,
) -> None:
    """Serve Inspect's viewer at http://127.0.0.1:PORT: every prompt, answer and score. Ctrl-C ends it.

    Example: `copsd-bench view runs/logs`.
    """
    if not folder.is_dir():
        raise CopsdError(f"Folder {folder} does not exist; give the --out folder of a run.")
    if not any(folder.rglob("*.eval")):
        raise CopsdError(f"Folder {folder} holds no log (*.eval); give the --out folder of a run.")
    from inspect_ai import view as inspect_view

    with suppress(KeyboardInterrupt):
        inspect_view(log_dir=str(folder), host="127.0.0.1", port=port)
