"""Recipes side by side: the same prompts and budget, trained one after the other, then evaluated alike.

prompts.jsonl      what every arm trains on
arms/NAME/         a run folder each; finished ones are skipped, interrupted ones resume
evaluation/        logs of the evaluations
records/NAME.json  a record each, and base.json
leaderboard.md     budget, results against the base, panel
"""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copsd_bench.config import RunConfig, run_config
from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.records.schema import RunRecord
from copsd_bench.records.store import read_record, write_record
from copsd_bench.suites import task_info, tasks_of
from copsd_bench.yaml_file import read_mapping
from copsd_train.budget import Budget, at_budget, own_budget, student_stage
from copsd_train.corpora.prompts import CorpusConfig, draw_rows, load_rows
from copsd_train.corpora.schema import Kind, PromptRow, read_prompts, write_rows
from copsd_train.load_recipe import DEMO, load_recipe, merged, parsed, validated
from copsd_train.recipe import Recipe
from copsd_train.run import Run
from copsd_train.run_folder import read_lines

ENDING = (ExitCode.DISK, ExitCode.INTERRUPTED)
"""Errors that end the whole comparison: the next arm would meet them too."""
OWN = ("model", "adapter", "out", "revision", "trust_remote_code")
"""Settings of an evaluation that the comparison itself decides."""


@dataclass
class Arm:
    """A recipe in a comparison.

    Attributes:
        recipe: at the common budget.
        run: its folder.
        prompts: how many it trains on.
        error: why it failed, in one sentence, or None.
        record: of its evaluation, once there is one.
    """

    recipe: Recipe
    run: Run
    prompts: int
    error: str | None = None
    record: RunRecord | None = None

    def used_tokens(self) -> int:
        """Answer tokens that the student's stage has learned from so far."""
        stage = student_stage(self.recipe)
        lines = read_lines(self.run.folder / "metrics.jsonl")
        return int(sum(line.get("tokens", 0) for line in lines if line["stage"] == stage))


def load_recipes(names: Sequence[str], changes: Sequence[str], demo: bool) -> list[Recipe]:
    """The recipes of all arms; a change goes to those that have its stage.

    Raises:
        CopsdError: an unknown recipe or key, the same name twice, a change that goes to no recipe, or one of the
            prompts, which the arms share.
    """
    for change in changes:
        given = parsed(change)
        corpus = given.get("corpus")
        if {"prompts", "rows"} & given.keys() or (isinstance(corpus, Mapping) and "rows" in corpus):
            raise CopsdError(
                f"--set {change} is not for run-all, whose arms share their prompts; give --prompts FILE and --rows N."
            )
    recipes: list[Recipe] = []
    unused = list(changes)
    for name in names:
        plain = load_recipe(name)
        fitting = [change for change in changes if getattr(plain, change.split("=")[0].split(".")[0], "") is not None]
        unused = [change for change in unused if change not in fitting]
        recipes.append(load_recipe(name, fitting, demo))
        if recipes[-1].name in [recipe.name for recipe in recipes[:-1]]:
            raise CopsdError(f"Two recipes have the name {recipes[-1].name!r}; give each its own `name`.")
    if not recipes:
        raise CopsdError("There is no recipe to run; name some, joined by commas (see `copsd-train list`).")
    if unused:
        raise CopsdError(f"--set {unused[0]} is for a stage that none of these recipes has.")
    return recipes


def common_prompts(
    files: Sequence[Path], rows: int | None, demo: bool, seed: int, allow_overlap: bool = False
) -> list[PromptRow]:
    """What every arm trains on: at most so many prompts of each kind, drawn evenly over categories.

    Raises:
        CopsdError: as `load_rows`.
    """
    counts: dict[Kind, int] = {}
    if rows is not None:
        counts = {"safety": rows, "over_refusal": rows, "general": rows}
    elif demo:
        counts = read_mapping(DEMO, "Recipe", "extends: copsd")["comparison"]["rows"]
    return load_rows(CorpusConfig(prompts=list(files), rows=counts, seed=seed, allow_overlap=allow_overlap))


def prompts_of(recipe: Recipe, prompts: Sequence[PromptRow]) -> int:
    """How many of the common prompts an arm trains on: all, or if it is one-sided those to refuse.

    Raises:
        CopsdError: there is none to refuse.
    """
    return len(draw_rows(prompts, recipe.prompt_config.model_copy(update={"rows": {}})))


def matched(recipes: Sequence[Recipe], budget: Budget, prompts: Sequence[int]) -> list[Recipe]:
    """All recipes at one budget, given the number of prompts that each trains on.

    Raises:
        CopsdError: one of them cannot meet it.
    """
    return [at_budget(recipe, budget, count) for recipe, count in zip(recipes, prompts, strict=True)]


def first_budget(recipes: Sequence[Recipe], updates: int | None, tokens: int | None, prompts: Sequence[int]) -> Budget:
    """The budget as given; what is not given is what the first recipe spends by itself, on its number of prompts."""
    if updates is not None and tokens is not None:
        return Budget(updates, tokens)
    own = own_budget(recipes[0], prompts[0])
    return Budget(updates or own.updates, tokens or own.tokens)


def begin(
    out: Path, recipes: Sequence[Recipe], prompts: Sequence[PromptRow], base: ResolvedModel, command: list[str]
) -> list[Arm]:
    """Make or find the folders of all arms, before any is trained.

    Raises:
        CopsdError: the folder holds a comparison on other prompts, of another model, or at another budget.
    """
    file = out / "prompts.jsonl"
    if file.is_file() and read_prompts(file) != list(prompts):
        raise CopsdError(f"{out} holds a comparison on other prompts; choose another --out.")
    write_rows(file, prompts)
    arms = []
    for recipe in recipes:
        # These prompts are the packaged ones or were held against the benchmarks when they were read; those that a
        # steering stage reads besides were not.
        same: dict[str, Any] = {"prompts": [str(file)], "rows": None, "allow_overlap": True}
        if recipe.corpus is not None:
            same["corpus"] = {"rows": None}
        if recipe.steering is not None and recipe.steering.allow_overlap is None:
            same["steering"] = {"allow_overlap": recipe.allow_overlap}
        resolved = validated(merged(recipe.model_dump(mode="json"), same), recipe.name)
        run = Run.start(out / "arms" / recipe.name, resolved, base, command)
        arms.append(Arm(resolved, run, prompts_of(resolved, prompts)))
    return arms


def train(arms: Sequence[Arm]) -> None:
    """Bring every arm to its end; what fails keeps its sentence and the next one begins.

    Raises:
        CopsdError: the disk is full.
    """
    from copsd_train.ranks import Ranks
    from copsd_train.stages import execute

    ranks = Ranks()
    if ranks.size > 1:
        raise CopsdError(
            "run-all is one process; train the arms on several with `accelerate launch -m copsd_train.cli resume "
            "OUT/arms/NAME` and repeat this command: it finds them finished."
        )

    def bring_to_its_end(arm: Arm) -> None:
        with arm.run:
            execute(arm.run, ranks)

    _each(arms, "Training", bring_to_its_end)


def evaluation(given: dict[str, Any], base: ResolvedModel, out: Path) -> RunConfig:
    """How base and arms are evaluated.

    Args:
        given: settings of `copsd-bench run` by name.
        base: the model trained; tasks that measure against a reference take it.
        out: folder of the comparison.

    Raises:
        CopsdError: an unknown setting, or one that the comparison decides.
    """
    for name in given:
        if name in OWN or name not in RunConfig.model_fields:
            raise unknown_name("setting of --eval", name, set(RunConfig.model_fields) - set(OWN))
    shown = "rich" if sys.stdout.isatty() else "plain"
    own = {"model": base.name, "out": out / "evaluation", "display": given.get("display", shown)}
    own |= {"revision": base.revision, "trust_remote_code": base.trust_remote_code}
    config = run_config(None, {**given, **own})
    if config.reference is None and any(task_info(name).reference for name in tasks_of(config.suite, config.task)):
        config.reference = base.name
    return config


def check_evaluation(config: RunConfig) -> None:
    """Refuse an evaluation that cannot be run, before anything is trained.

    Raises:
        CopsdError: whatever `copsd-bench run --dry-run` would say.
    """
    from copsd_bench.run import plan

    plan(config)


def evaluate(config: RunConfig, arms: Sequence[Arm], out: Path, command: list[str]) -> RunRecord:
    """The base's record, and one of every trained arm, under the arm's name.

    Raises:
        CopsdError: the base cannot be evaluated, or the disk is full.
    """
    base = _evaluated(config, out, "base", command)

    def measure(arm: Arm) -> None:
        student = arm.run.output(student_stage(arm.recipe))
        how = {"model": str(student), "revision": None} if arm.recipe.tuning == "full" else {"adapter": student}
        arm.record = _evaluated(config.model_copy(update=how), out, arm.recipe.name, command)

    _each([arm for arm in arms if arm.error is None], "Evaluating", measure)
    return base


def _evaluated(config: RunConfig, out: Path, name: str, command: list[str]) -> RunRecord:
    from copsd_bench.run import execute, plan

    record = execute(plan(config), command)
    if name != "base":
        # Every student lies in a folder of that name: what tells them apart is the recipe.
        told = {"adapter": name} if record.model.adapter is not None else {"name": name}
        record = record.model_copy(update={"model": record.model.model_copy(update=told)})
    write_record(record, out / "records" / f"{name}.json")
    return read_record(out / "records" / f"{name}.json")


def _each(arms: Sequence[Arm], what: str, work: Callable[[Arm], None]) -> None:
    """Do something for every arm; an error becomes the arm's."""
    import torch

    for i, arm in enumerate(arms, start=1):
        print(f"{what} {arm.recipe.name} ({i} of {len(arms)})", file=sys.stderr, flush=True)
        try:
            work(arm)
        except CopsdError as error:
            if error.code in ENDING:
                raise
            arm.error = str(error)
        except (MemoryError, torch.OutOfMemoryError) as error:
            reason = str(error).partition("\n")[0] or "no further word"
            arm.error = f"Out of memory while {what.lower()} ({reason}); lower micro_batch_size."
        if arm.error is not None:
            print(f"Arm {arm.recipe.name} failed: {arm.error}", file=sys.stderr, flush=True)
        gc.collect()
