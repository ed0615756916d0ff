"""`copsd-bench data`: which benchmark data is at hand, fetching it, verifying it, and where it lies."""

from typing import TYPE_CHECKING, Annotated

import typer

from copsd_bench.errors import CopsdError, ExitCode

if TYPE_CHECKING:
    from copsd_bench.sources.pins import Pin

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Benchmark data: pinned files, looked for in `COPSD_DATA_DIR` (your mirror), the hub cache, the hub, and "
    "GitHub, in this order; every file is verified before it is used. Other repositories, revisions or copies: name a "
    "YAML file in `COPSD_SOURCES`, e.g. with `vqav2: {hub: {repo: OWNER/NAME, revision: main}}`.",
)

Names = Annotated[list[str] | None, typer.Argument(help="Benchmarks, e.g. `xstest gsm8k`. Default: all.")]


@app.command("list")
def list_data(
    online: Annotated[bool, typer.Option("--online", help="Also ask whether the hub and GitHub answer.")] = False,
) -> None:
    """Show every benchmark's data: licence, size, gate, and where it is available now. Reads no contents.

    Example: `COPSD_DATA_DIR=./mirror copsd-bench data list --online`
    """
    from rich.console import Console
    from rich.table import Table

    from copsd_bench.sources import locate
    from copsd_bench.sources.pins import pins

    table = Table(title="Benchmark data", title_justify="left", title_style="bold")
    for heading in ("benchmark", "file", "records", "size", "licence", "gated", "available now"):
        table.add_column(heading, justify="right" if heading in ("records", "size") else "left", overflow="fold")
    for pin in pins().values():
        for name, file in pin.files.items():
            found = locate.local(pin, file)
            remote = locate.online(pin, file) if online and found is None else None
            where = f"[green]{found.source}[/]" if found else f"[yellow]{remote}[/]" if remote else "[red]no[/]"
            gated = "yes" if pin.hub is not None and pin.hub.gated else "no"
            table.add_row(pin.name, name, f"{file.count:,}", _size(file.bytes), pin.licence, gated, where)
    console = Console()
    console.print(table)
    if not online:
        console.print("[dim]`--online` also asks the hub and GitHub. `copsd-bench data fetch NAME` downloads.[/]")


@app.command("fetch")
def fetch_data(names: Names = None) -> None:
    """Download what is not at hand and verify it, so that later runs need no network.

    Example: `copsd-bench data fetch gsm8k ifeval`
    """
    _check(names)


@app.command("verify")
def verify_data(
    names: Names = None,
    local: Annotated[bool, typer.Option("--local", help="Only files on this machine; download nothing.")] = False,
) -> None:
    """Load every file and check sha256 and record count. Exit code 4 if one is missing or altered.

    Images are decoded, every one. A hub file whose sha256 is not pinned is verified by repository revision and record
    count; the table says so.

    Example: `copsd-bench data verify xstest`
    """
    _check(names, local_only=local)


@app.command("where")
def where_is(names: Names = None) -> None:
    """Print the path of each file on this machine, or that there is none and where a mirror would hold it.

    Example: `copsd-bench data where gsm8k`
    """
    from copsd_bench.sources import locate

    missing = 0
    for pin in _pins(names):
        for name, file in pin.files.items():
            found = locate.local(pin, file)
            missing += found is None
            paths = " ".join(map(str, found.paths)) if found else f"not here; a mirror has it at {file.mirror}"
            typer.echo(f"{pin.name}/{name}\t{found.source if found else '-'}\t{paths}")
    if missing:
        raise typer.Exit(int(ExitCode.DATA))


def _check(names: list[str] | None, local_only: bool = False) -> None:
    """Load each file, one line each; all are tried before the command fails."""
    from rich.console import Console

    from copsd_bench.sources import locate
    from copsd_bench.sources.images import check_images
    from copsd_bench.sources.loader import load_records

    console, problems, checked = Console(), [], 0
    for pin in _pins(names):
        for name, file in pin.files.items():
            label = f"{pin.name}/{name}"
            if local_only and locate.local(pin, file) is None:
                console.print(f"[dim]- {label}: not on this machine[/]", highlight=False)
                continue
            checked += 1
            try:
                loaded = load_records(pin, name)
                seen = f" and {check_images(loaded):,} images" if pin.images is not None else ""
            except CopsdError as error:
                problems.append(label)
                console.print(f"[red]✗[/] {label}: {error}", highlight=False, soft_wrap=True)
                continue
            console.print(
                f"[green]✓[/] {label}: {loaded.count:,} records{seen} from {loaded.source}, by {loaded.verified_by} "
                f"([dim]{loaded.sha256[:16]}[/])",
                highlight=False,
                soft_wrap=True,
            )
    if problems:
        raise CopsdError(f"{len(problems)} of {checked} files cannot be used: {', '.join(problems)}.", ExitCode.DATA)


def _pins(names: list[str] | None) -> "list[Pin]":
    from copsd_bench.sources.pins import pin_named, pins

    return [pin_named(name) for name in names] if names else list(pins().values())


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"
