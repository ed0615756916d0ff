"""Two processes give the trajectory of one: the same rollouts, replayed in float32, move the student alike."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.generators import recorded
from copsd_train.load_recipe import load_recipe
from copsd_train.ranks import Ranks
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.stages import execute
from tests.train.conftest import SMALL

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *SMALL,
    "distill.prompts_per_step=4",
    "distill.minibatches=2",
    "distill.steps=3",
    "distill.micro_batch_size=3",
]


LAUNCH = {
    "lora": ["--multi_gpu"],  # accelerate's name for one process a device; on a CPU see ENVIRONMENT
    "full": ["--use_fsdp", "--fsdp_version=2"],
}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny: ResolvedModel, prompts_file: Path) -> dict[str, Path]:
    """Runs of one process, by tuning."""
    folders = {}
    for tuning in LAUNCH:
        folders[tuning] = tmp_path_factory.mktemp("runs") / tuning
        recipe = load_recipe("opsd-const", [*SETTINGS, f"prompts=[{prompts_file}]", f"tuning={tuning}"])
        with Run.start(folders[tuning], recipe, tiny, []) as run:
            execute(run, Ranks())
    return folders


@pytest.mark.parametrize("tuning", LAUNCH)
def test_two_processes_give_the_trajectory_of_one(
    alone: dict[str, Path], tiny: ResolvedModel, prompts_file: Path, tmp_path: Path, tuning: str
) -> None:
    """LoRA with all weights in each process, full fine-tuning with weights split over both (FSDP2)."""
    recording = ["distill.rollout.engine=recorded", f"distill.rollout.file={alone[tuning] / 'samples.jsonl'}"]
    settings = [*SETTINGS, f"prompts=[{prompts_file}]", f"tuning={tuning}", *recording]
    changes = [part for setting in settings for part in ("--set", setting)]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=2", "--num_machines=1",
              "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", *LAUNCH[tuning]]  # fmt: skip
    out = tmp_path / "two"
    train = ["-m", "copsd_train.cli", "run", "opsd-const", "--model", str(tiny.path), "--out", str(out), *changes]
    done = subprocess.run([*launch, *train], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (read_lines(folder / "metrics.jsonl") for folder in (alone[tuning], out))
    assert len(one) == len(two) == 3
    for step, (expected, got) in enumerate(zip(one, two, strict=True)):
        # Before the first update all is the same up to the order of sums. Then AdamW makes full steps even where
        # a gradient is nothing but rounding, and with all weights in training the trajectories part slowly.
        rel, noise = (1e-4, 2e-6) if tuning == "lora" else (1e-2, 2e-4) if step else (1e-3, 1e-5)
        assert got["processes"] == 2
        for name in set(expected) - {"stage", "processes"}:
            if not name.startswith("time/"):
                assert got[name] == pytest.approx(expected[name], rel=rel, abs=noise), name
    assert done.stdout.count("student") == 1, "only one process speaks"


def test_a_recording_of_another_run_is_refused_and_of_other_stages_passed_over(
    alone: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(CopsdError, match="lacks 1 of the 1 answers of this step"):
        recorded(alone["lora"] / "samples.jsonl")([], None, [7])  # type: ignore[arg-type]
    rows = read_lines(alone["lora"] / "samples.jsonl")
    (tmp_path / "samples.jsonl").write_text(json.dumps({"stage": "preference", "step": 1}) + "\n" + json.dumps(rows[0]))
    [answer] = recorded(tmp_path / "samples.jsonl")([], None, [rows[0]["seed"]])  # type: ignore[arg-type]
    assert answer.text == rows[0]["answer"]
    with pytest.raises(CopsdError, match="There is no recording"):
        recorded(alone["lora"] / "sample.jsonl")


def test_shares_are_disjoint_complete_and_keep_their_mini_batch() -> None:
    prompts = list(range(12))
    shares = []
    for rank in range(3):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, 3
        shares.append(ranks.share(prompts, parts=2))
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
