"""`copsd-bench list`: tasks, suites, constitutions, judges."""


def list_all() -> None:
    """List tasks, suites, constitutions and judges, and which data is here now.

    Example: `copsd-bench list`. Nothing is downloaded.
    """
    from rich.console import Console
    from rich.table import Table

    from copsd_bench.benchmarks.collapse.prompts import load_collapse_prompts
    from copsd_bench.benchmarks.mini_items import load_mini_items
    from copsd_bench.constitution import constitution_names, load_constitution
    from copsd_bench.judges.registry import JUDGES
    from copsd_bench.sources.locate import local
    from copsd_bench.sources.pins import pin_named
    from copsd_bench.suites import SUITES, TASKS

    console = Console()
    tasks = Table("Task", "Measures", "Items", "Metric", "Licence", "Data", title="Tasks", title_justify="left")
    for name, info in TASKS.items():
        if info.pin:
            pin = pin_named(info.pin)
            here = all(local(pin, file) is not None for file in pin.files.values())
            size, licence, state = str(pin.file("test").count), pin.licence, "here" if here else "to fetch"
        else:
            items = load_collapse_prompts() if info.reference else load_mini_items()
            size, licence, state = str(len(items)), "Apache-2.0", "packaged"
        tasks.add_row(name, info.title, size, info.metric, licence, state)
    console.print(tasks)
    suites = Table("Suite", "Tasks", title="Suites", title_justify="left")
    for suite, members in SUITES.items():
        suites.add_row(suite, ", ".join(members))
    console.print(suites)
    texts = Table("Constitution", "Title", "Words", title="Constitutions", title_justify="left")
    for name in constitution_names():
        constitution = load_constitution(name)
        texts.add_row(name, constitution.title, str(len(constitution.body().split())))
    console.print(texts)
    console.print(f"Judges: {', '.join(JUDGES)} (offline), or any Inspect model as grader (--judge openai/...).")
    console.print("A model against its base: copsd-bench run --suite collapse --adapter ADAPTER --reference base")
    console.print("Your own prompts: copsd-bench run --prompts FILE.csv")
