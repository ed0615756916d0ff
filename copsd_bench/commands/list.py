"""`copsd-bench list`: tasks, suites, constitutions, judges."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from copsd_bench.task_table import TaskInfo


def list_all(
    suite: Annotated[str | None, typer.Option(help="Only the tasks of this suite.", show_default=False)] = None,
) -> None:
    """List tasks, suites, constitutions and judges, and which data is here now.

    Example: `copsd-bench list --suite copsd`. Nothing is downloaded.
    """
    from rich.console import Console

    from copsd_bench.constitution import constitution_names, load_constitution
    from copsd_bench.guidelines import CONTEXTS, load_guidelines
    from copsd_bench.judges.formats import formats
    from copsd_bench.judges.registry import JUDGES
    from copsd_bench.suites import SUITES, tasks_of
    from copsd_bench.task_table import TASKS

    console = Console()
    tasks = _table("Tasks", "Task", "Items", "Metric", "Judge", "Licence", "Data")
    names = tasks_of(suite, []) or list(TASKS)
    tasks.columns[0].min_width = max(map(len, names))  # a name is copied whole, also from a narrow terminal
    for name in names:
        info = TASKS[name]
        size, licence, data = _data(info)
        tasks.add_row(f"{name}\n[dim]{info.title}[/]", size, info.metric, _judge(info), licence, data)
    console.print(tasks)
    console.print(
        "? is not counted yet. ↓ is fetched when it is used; gated: from the hub, with HF_TOKEN and its terms accepted."
    )
    if suite is not None:
        return
    console.print(
        "All of lm-eval too: --task lm_eval/NAME, or lm_eval/NAME@N for N worked examples.\n", highlight=False
    )
    suites = _table("Suites", "Suite", "Tasks")
    for suite, members in SUITES.items():
        suites.add_row(suite, ", ".join(members))
    console.print(suites)
    texts = _table("Constitutions", "Constitution", "Title", "Words")
    for name in constitution_names():
        constitution = load_constitution(name)
        texts.add_row(name, constitution.title, str(len(constitution.body().split())))
    for name in CONTEXTS:
        text = load_guidelines().context(name).text
        texts.add_row(name, load_guidelines().title, str(len(text.split())))
    console.print(texts)
    judges = _table("Judges", "--judge", "Decides")
    for name in JUDGES:
        judges.add_row(name, "refused, refused in part, complied: offline, the default")
    judges.add_row("MODEL", "by each task's own rubric; any model, e.g. openai/... or copsd/OWNER/NAME")
    for name, each in formats().items():
        judges.add_row(f"{name}:{'classifier/' if each.classifier else ''}MODEL", each.title)
    console.print(judges)
    console.print("A model against its base: copsd-bench run --suite collapse --adapter ADAPTER --reference base")
    console.print("Your own prompts: copsd-bench run --prompts FILE.csv")


def _table(title: str, *columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        right = column in ("Items", "Words")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _data(info: "TaskInfo") -> tuple[str, str, str]:
    """Number of items, licence, and where the data is or comes from."""
    from copsd_bench.benchmarks.collapse.prompts import load_collapse_prompts
    from copsd_bench.benchmarks.mini_items import load_mini_items
    from copsd_bench.sources.locate import local
    from copsd_bench.sources.pins import pin_named

    if not info.pin:
        items = load_collapse_prompts() if info.reference else load_mini_items()
        return str(len(items)), "Apache-2.0", "packaged"
    pin = pin_named(info.pin)
    found = [local(pin, file) for file in pin.files.values()]
    if all(found):
        state = ", ".join(sorted({each.source for each in found if each is not None}))
    elif pin.hub is not None and all(file.hub_file for file in pin.files.values()):
        state = "↓ gated" if pin.hub.gated else "↓ hub"
    else:
        state = "↓ GitHub"
    return f"{pin.size:,}" if pin.size else "?", pin.licence, state


def _judge(info: "TaskInfo") -> str:
    """What judges a task without `--judge`, and whether a model can."""
    if info.runs_code:
        return "tests"
    if "refusal" in info.judges:
        return "refusal, model"
    if info.judges:
        return "model"
    return "rule" if info.kind == "general" or info.reference else "refusal"
