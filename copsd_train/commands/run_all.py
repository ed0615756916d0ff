"""`copsd-train run-all`: several recipes on the same prompts and budget, evaluated in one table."""

import sys
from pathlib import Path
from typing import Annotated

import typer

_ARMS, _BUDGET, _EVALUATION = "Arms", "Prompts and budget", "Evaluation"


def run_all(
    recipes: Annotated[
        str,
        typer.Option(
            help="Names of recipes (`copsd-train list`) or YAML files, joined by commas.",
            metavar="A,B,...",
            rich_help_panel=_ARMS,
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Built-in name, local folder or hub id.", rich_help_panel=_ARMS)
    ] = "smollm2-135m",
    out: Annotated[
        Path, typer.Option(help="Folder of the comparison; the same command continues it.", rich_help_panel=_ARMS)
    ] = Path("runs/comparison"),
    changes: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="For every arm that has that stage; may be repeated.",
            rich_help_panel=_ARMS,
        ),
    ] = [],  # noqa: B006
    demo: Annotated[
        bool, typer.Option("--demo", help="Sizes for minutes on two cores.", rich_help_panel=_ARMS)
    ] = False,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.", rich_help_panel=_ARMS)] = None,
    trust_remote_code: Annotated[
        bool, typer.Option(help="Run model code that comes with the weights.", rich_help_panel=_ARMS)
    ] = False,
    prompts: Annotated[
        list[Path],
        typer.Option(
            help="File of prompts that every arm trains on; default: the packaged ones. May be repeated.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=_BUDGET,
        ),
    ] = [],  # noqa: B006
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Prompts of each kind; default all (--demo: a few).", rich_help_panel=_BUDGET),
    ] = None,
    updates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Optimiser updates of each student; default: the first recipe's.", rich_help_panel=_BUDGET
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Answer tokens each student learns from at most; default: the first recipe's.",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="Suite of `copsd-bench`; `mini` if nothing is named.", rich_help_panel=_EVALUATION),
    ] = None,
    task: Annotated[
        list[str], typer.Option(help="A task; may be repeated.", show_default=False, rich_help_panel=_EVALUATION)
    ] = [],  # noqa: B006
    limit: Annotated[
        int | None, typer.Option(min=1, help="Items of each task, balanced.", rich_help_panel=_EVALUATION)
    ] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--eval",
            metavar="NAME=VALUE",
            show_default=False,
            rich_help_panel=_EVALUATION,
            help="Another option of `copsd-bench run`, e.g. max_tokens=64 or judge=openai/...; may be repeated.",
        ),
    ] = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, print the budget of each arm, train nothing.")
    ] = False,
) -> None:
    """Train recipes side by side and evaluate them in one table.

    Every arm sees the same prompts (a one-sided recipe: those of them that are to be refused) and spends the same on
    its student: so many optimiser updates, on answers of so many tokens at most. On-policy stages roll the answers
    out; SFT takes those of its corpus, in as many passes as the updates need, each batch filled up to its share of the
    tokens. To get there, steps and prompts (or tokens) a step are set; mini-batches, answers a prompt and the longest
    answer stay the recipe's own. A recipe that cannot meet the budget within a tenth is refused, with the reason. What
    comes before the student (a corpus, a teacher's fine-tuning) is shown, not matched.

    Then base and students answer the same suite, and one table shows every arm against the base, paired on items:
    OUT/leaderboard.md. An arm that fails is reported with its reason and stops no other; the exit code is then 6.
    Stopped or killed, the same command continues: finished arms are skipped.

    Examples: `copsd-train run-all --recipes opsd-const,copsd,sft --demo`;
    `copsd-train run-all --recipes opsd-const,opsa,sft --model my/model --updates 200 --budget-tokens 13107200`;
    `copsd-train run-all --recipes opsd-const,opsa --suite collapse --eval rollouts=4`.

    See also: `copsd-bench compare OUT/records/base.json OUT/records/NAME.json`, `copsd-train status OUT/arms/NAME`.
    """
    from copsd_bench.commands._show import show
    from copsd_bench.config import parse_pairs
    from copsd_train import comparison
    from copsd_train.budget import LEGEND, budget_grid

    loaded = comparison.load_recipes([name.strip() for name in recipes.split(",") if name.strip()], changes, demo)
    given = {"suite": suite, "task": task, "limit": limit, **parse_pairs("--eval", settings)}
    allow_overlap = all(recipe.allow_overlap for recipe in loaded)
    chosen = comparison.common_prompts(prompts, rows, demo, loaded[0].seed, allow_overlap)
    counts = [comparison.prompts_of(recipe, chosen) for recipe in loaded]
    budget = comparison.first_budget(loaded, updates, budget_tokens, counts)
    matched = comparison.matched(loaded, budget, counts)
    show([budget_grid(matched, counts), LEGEND], "table", None)

    from copsd_bench.models.resolve import resolve_model
    from copsd_bench.records.paths import published

    base = resolve_model(model, revision=revision, trust_remote_code=trust_remote_code)
    how = comparison.evaluation(given, base, out)
    comparison.check_evaluation(how)
    if dry_run:
        return
    command = ["copsd-train", *map(published, sys.argv[1:])]
    arms = comparison.begin(out, matched, chosen, base, command)
    comparison.train(arms)
    record = comparison.evaluate(how, arms, out, command)

    from copsd_bench.errors import CopsdError, ExitCode
    from copsd_train.comparison_table import details_parts, results_parts

    written = [
        *results_parts(record, arms, narrow=False), budget_grid(matched, counts), LEGEND,
        *details_parts(record, arms),
    ]  # fmt: skip
    show(written, "markdown", out / "leaderboard.md")
    show(results_parts(record, arms, narrow=True), "table", None)
    print(f"Table: {out / 'leaderboard.md'}\nRecords: {out / 'records'}")
    if failed := [arm.recipe.name for arm in arms if arm.error is not None]:
        raise CopsdError(
            f"{len(failed)} of {len(arms)} arms failed ({', '.join(failed)}); the same command tries them again.",
            ExitCode.RUN,
        )
