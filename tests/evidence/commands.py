"""The command lines that train, merge and judge the arms."""

import sys
from pathlib import Path

from tests.evidence.plan import ROOT, Arm, Plan

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


def teacher_folder(plan: Plan, arm: Arm, seed: int, work: Path) -> Path:
    """The teacher that an arm takes over: of the other arm's run if that was made here, else trained by itself."""
    assert arm.teacher_of is not None
    whole = run_folder(work, plan.arm(arm.teacher_of), seed)
    return (whole if (ROOT / whole / "teacher").is_dir() else whole.parent / "teacher-run") / "teacher"


def teaching(plan: Plan, arm: Arm, seed: int, work: Path) -> list[str]:
    """The command that trains no more than the teacher that an arm takes over."""
    assert arm.teacher_of is not None
    command = training(plan, plan.arm(arm.teacher_of), seed, work)
    kept = [i for i, word in enumerate(command) if not word.startswith("distill.")]
    command = [command[i] for i in kept if not (command[i] == "--set" and i + 1 not in kept)]
    command[command.index("--out") + 1] = str(teacher_folder(plan, arm, seed, work).parent)
    return [*command, "--set", "distill=null"]


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
        teacher = teacher_folder(plan, arm, seed, work)
        changes += ["corpus=null", "sft=null", f"distill.teacher.path={teacher}"]
    sets = [part for change in [*changes, *arm.changes] for part in ("--set", change)]
    command = [*TRAIN, "run", arm.recipe, "--demo", "--model", start_model(plan, arm, work)]
    return [*command, "--out", str(run_folder(work, arm, seed)), *sets]


def merging(plan: Plan, arm: Arm, work: Path) -> list[str]:
    """The command that makes the starting model of an arm that has one of its own."""
    model = Path(start_model(plan, arm, work))
    return [*TRAIN, "merge", str(model.parent), "--adapter", "student", "--out", str(model)]


def judging(plan: Plan, arm: Arm, seed: int, work: Path, kind: str) -> dict[Path, list[str]]:
    """The commands that evaluate an arm, or measure its collapse, by the folder that each puts its record into."""
    out = run_folder(work, arm, seed).parent / kind
    command = [*BENCH, "run", "--model", start_model(plan, arm, work)]
    command += ["--seed", str(seed), "--constitution", arm.constitution]
    if arm.recipe is not None:
        command += ["--adapter", str(run_folder(work, arm, seed) / "student")]
    if kind == "evaluation":
        commands = {}
        for limit, tasks in plan.evaluation.by_limit.items():
            # The folder itself for most tasks, as before some had a limit of their own.
            folder = out if limit == plan.evaluation.max_tokens else out / f"{limit}-tokens"
            named = [part for task in tasks for part in ("--task", task)]
            sizes = ["--limit", str(plan.evaluation.limit), "--max-tokens", str(limit)]
            commands[folder] = [*command, "--out", str(folder), *named, *sizes]
        return commands
    command += ["--suite", "collapse", "--reference", "self" if arm.is_base else "base"]
    sampling = plan.collapse.model_dump()
    values = [
        *command,
        "--out",
        str(out),
        *(part for name, value in sampling.items() for part in (f"--{name.replace('_', '-')}", str(value))),
    ]
    return {out: values}
