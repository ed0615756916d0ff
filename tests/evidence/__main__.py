"""Run the evidence: train and judge every arm that has no record yet, then write the page.

    COPSD_DATA_DIR=... python -m tests.evidence [--arms copsd,sft] [--seeds 0] [--work runs/evidence] [--commit]
    python -m tests.evidence --page          only write results/evidence/README.md from the records

Stopped at any moment, the same command continues: training resumes from its last checkpoint, evaluation from its last
answer, and an arm with both records is skipped. Arms go seed by seed, so that the first seed of all is there first.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.evidence.plan import RECORDS, ROOT, Arm, Plan, load_plan, record_path


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", help="names, comma-separated; all by default")
    parser.add_argument("--seeds", help="seeds, comma-separated; all by default")
    parser.add_argument("--work", type=Path, default=Path("runs/evidence"), help="adapters and logs")
    parser.add_argument("--commit", action="store_true", help="commit each finished arm")
    parser.add_argument("--page", action="store_true", help="only write the page")
    options = parser.parse_args()
    plan = load_plan()
    arms = options.arms.split(",") if options.arms else [arm.name for arm in plan.arms]
    if unknown := sorted(set(arms) - {arm.name for arm in plan.arms}):
        parser.error(f"no arm {', '.join(unknown)} in the plan")
    seeds = [int(seed) for seed in options.seeds.split(",")] if options.seeds else None
    jobs = [(arm, seed) for arm in plan.arms for seed in arm.seeds if arm.name in arms]
    for arm, seed in sorted(jobs, key=lambda job: job[1]):
        if not options.page and (seeds is None or seed in seeds):
            run_arm(plan, arm, seed, options.work, options.commit)
    from tests.evidence.page import write_page

    print(write_page(plan))


def run_arm(plan: Plan, arm: Arm, seed: int, work: Path, commit: bool) -> None:
    """Train an arm and judge it, as far as that is not done."""
    targets = {kind: record_path(arm.name, seed, kind) for kind in ("evaluation", "collapse")}
    if all(target.exists() for target in targets.values()):
        return
    folder = work / f"{arm.name}-seed{seed}"
    if arm.recipe is not None:
        call(training(plan, arm, seed, work, folder))
    for kind, target in targets.items():
        out = folder / kind
        call(judging(plan, arm, seed, folder, kind, out))
        [record] = out.glob("*.json")
        RECORDS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(record, target)
    if commit:
        call(["git", "add", *map(str, targets.values())])
        call(["git", "commit", "-qm", f"Evidence: {arm.name}, seed {seed}", "--", *map(str, targets.values())])


def training(plan: Plan, arm: Arm, seed: int, work: Path, folder: Path) -> list[str]:
    """The command that trains an arm."""
    from copsd_train.load_recipe import load_recipe

    assert arm.recipe is not None
    changes = [f"seed={seed}"]
    # A recipe without a distill stage has nothing that a change of it could mean.
    if load_recipe(arm.recipe).distill is not None:
        changes += [change for change in plan.training if change.startswith("distill.")]
    changes += [change for change in plan.training if not change.startswith("distill.")]
    if arm.teacher_of:
        teacher = work / f"{arm.teacher_of}-seed{seed}" / "teacher"
        changes += ["corpus=null", "sft=null", f"distill.teacher.path={teacher}"]
    sets = [part for change in [*changes, *arm.changes] for part in ("--set", change)]
    command = [sys.executable, "-m", "copsd_train.cli", "run", arm.recipe, "--demo", "--model", plan.model]
    return [*command, "--out", str(folder / "run"), *sets]


def judging(plan: Plan, arm: Arm, seed: int, folder: Path, kind: str, out: Path) -> list[str]:
    """The command that evaluates an arm, or measures its collapse."""
    command = [sys.executable, "-m", "copsd_bench.cli", "run", "--model", plan.model, "--out", str(out)]
    command += ["--seed", str(seed), "--constitution", arm.constitution]
    if arm.recipe is not None:
        command += ["--adapter", str(folder / "run" / "student")]
    if kind == "evaluation":
        settings = plan.evaluation
        command += [part for task in settings.tasks for part in ("--task", task)]
        return [*command, "--limit", str(settings.limit), "--max-tokens", str(settings.max_tokens)]
    itself = arm.recipe is None and arm.constitution == "none"
    command += ["--suite", "collapse", "--reference", "self" if itself else "base"]
    sampling = plan.collapse.model_dump()
    return [
        *command,
        *(part for name, value in sampling.items() for part in (f"--{name.replace('_', '-')}", str(value))),
    ]


def call(command: list[str]) -> None:
    """Run a command to its end."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(f"It ended with exit code {done.returncode}; the same command continues.")


if __name__ == "__main__":
    main()
