"""The command lines that train, merge and judge the arms."""

import sys
from pathlib import Path

from tests.evidence.plan import Arm, Plan

TRAIN = [sys.executable, "-m", "copsd_train.cli"]
BENCH = [sys.executable, "-m", "copsd_bench.cli"]


def run_folder(work: Path, arm: Arm, seed: int) -> Path:
    """Where an arm is trained."""
    return work / f"{arm.name}-seed{seed}" / "run"


def start_model(plan: Plan, arm: Arm, work: Path) -> str:
    """The model an arm starts from: the plan's, or the folder of another arm's merged weights."""
    if arm.start is None:
        return plan.model
    start = plan.arm(arm.start)
    return str(run_folder(work, start, start.seeds[0]) / "merged-student")


def training(plan: Plan, arm: Arm, seed: int, work: Path) -> list[str]:
    """The command that trains an arm."""
    from copsd_train.load_recipe import load_recipe

    assert arm.recipe is not None
    changes = [f"seed={seed}"]
    # A recipe without a distill stage has nothing that a change of it could mean.
    if load_recipe(arm.recipe).distill is not None:
        changes += [change for change in plan.training if change.startswith("distill.")]
    changes += [change for change in plan.training if not change.startswith("distill.")]
    if arm.teacher_of:
        teacher = run_folder(work, plan.arm(arm.teacher_of), seed) / "teacher"
        changes += ["corpus=null", "sft=null", f"distill.teacher.path={teacher}"]
    sets = [part for change in [*changes, *arm.changes] for part in ("--set", change)]
    command = [*TRAIN, "run", arm.recipe, "--demo", "--model", start_model(plan, arm, work)]
    return [*command, "--out", str(run_folder(work, arm, seed)), *sets]


def merging(plan: Plan, arm: Arm, work: Path) -> list[str]:
    """The command that makes the starting model of an arm that has one of its own."""
    model = Path(start_model(plan, arm, work))
    return [*TRAIN, "merge", str(model.parent), "--adapter", "student", "--out", str(model)]


def judging(plan: Plan, arm: Arm, seed: int, work: Path, kind: str, out: Path) -> list[str]:
    """The command that evaluates an arm, or measures its collapse."""
    command = [*BENCH, "run", "--model", start_model(plan, arm, work), "--out", str(out)]
    command += ["--seed", str(seed), "--constitution", arm.constitution]
    if arm.recipe is not None:
        command += ["--adapter", str(run_folder(work, arm, seed) / "student")]
    if kind == "evaluation":
        settings = plan.evaluation
        command += [part for task in settings.tasks for part in ("--task", task)]
        return [*command, "--limit", str(settings.limit), "--max-tokens", str(settings.max_tokens)]
    command += ["--suite", "collapse", "--reference", "self" if arm.is_base else "base"]
    sampling = plan.collapse.model_dump()
    return [
        *command,
        *(part for name, value in sampling.items() for part in (f"--{name.replace('_', '-')}", str(value))),
    ]
