"""Run the evidence: train and judge every arm that has no record yet, then write the page.

    COPSD_DATA_DIR=... python -m tests.evidence [--arms copsd,sft] [--seeds 0] [--work runs/evidence] [--commit]
    python -m tests.evidence --page          only write the page from the records

Stopped at any moment, the same command continues: training resumes from its last checkpoint, evaluation from its last
answer, and an arm with both records is skipped. Arms go seed by seed, so that the first seed of all is there first.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from copsd_bench.records.store import read_record, write_record
from tests.evidence.commands import judging, merging, start_model, teacher_folder, teaching, training
from tests.evidence.plan import FOLDER, ROOT, Arm, Plan, load_plan, record_path


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
    from tests.evidence.page import write_pages

    for path in write_pages(plan):
        print(path)


def run_arm(plan: Plan, arm: Arm, seed: int, work: Path, commit: bool) -> None:
    """Train an arm and judge it, as far as that is not done."""
    targets = {kind: record_path(FOLDER, arm.name, seed, kind) for kind in ("evaluation", "collapse")}
    if all(target.exists() for target in targets.values()):
        return
    if arm.start is not None and not (ROOT / start_model(plan, arm, work)).exists():
        start = plan.arm(arm.start)
        call(training(plan, start, start.seeds[0], work))
        call(merging(plan, arm, work))
    if arm.teacher_of is not None and not (ROOT / teacher_folder(plan, arm, seed, work)).is_dir():
        call(teaching(plan, arm, seed, work))
    if arm.recipe is not None:
        call(training(plan, arm, seed, work))
    for kind, target in targets.items():
        records = []
        for out, command in judging(plan, arm, seed, work, kind).items():
            call(command)
            records += [read_record(path) for path in (ROOT / out).glob("*.json")]
        tasks = [task for record in records for task in record.tasks]
        write_record(records[0].model_copy(update={"tasks": tasks}), target)
    if commit:
        call(["git", "add", *map(str, targets.values())])
        call(["git", "commit", "-qm", f"Evidence: {arm.name}, seed {seed}", "--", *map(str, targets.values())])


def call(command: list[str]) -> None:
    """Run a command to its end."""
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(f"It ended with exit code {done.returncode}; the same command continues.")


if __name__ == "__main__":
    main()
