"""Recipes side by side: killed and continued, one that fails, one table against the base; and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from copsd_bench.benchmarks.mini_items import load_mini_items
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel
from copsd_train import comparison
from copsd_train.cli import app
from copsd_train.corpora.prompts import load_rows
from copsd_train.run_folder import read_lines
from copsd_train.steering import contrast_of
from tests.train import refusing

ROOT = Path(__file__).parents[2]
# Without the mirror, prompts are held against the packaged benchmarks alone: that is quicker, and not tested here.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "COPSD_DATA_DIR"}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
CHANGES = [
    "dtype=float32", "device=cpu", "lora.rank=4", "distill.minibatches=1", "distill.micro_batch_size=4",
    "distill.rollout.per_prompt=2", "distill.rollout.max_tokens=24", "monitor.every=0", "corpus.rewrite=false",
    "corpus.max_tokens=6", "distill.optimiser.lr=1e-3", "checkpoints.every=1",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def without_mirror() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COPSD_DATA_DIR", raising=False)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run-all")
    (folder / "broken.yaml").write_text(
        "extends: opd\nname: broken\ncorpus: null\nsft: null\ndistill: {teacher: {path: /nowhere/adapter}}\n"
    )
    return folder


@pytest.fixture(scope="module")
def command(folder: Path, tiny: ResolvedModel, prompts_file: Path) -> list[str]:
    """Three arms, the second of which fails: four updates on at most 96 tokens each, two prompts a step."""
    return [
        "run-all", "--recipes", f"opsa,{folder / 'broken.yaml'},sft", "--model", str(tiny.path),
        "--out", str(folder / "out"), "--prompts", str(prompts_file), "--updates", "4", "--budget-tokens", "384",
        "--limit", "6", "--eval", "max_tokens=4", "--eval", "dtype=float32",
        *(part for change in CHANGES for part in ("--set", change)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def finished(folder: Path, command: list[str]) -> Path:
    """The comparison, killed in its first arm and continued by the same command."""
    metrics = folder / "out" / "arms" / "opsa" / "metrics.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "copsd_train.cli", *command], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(read_lines(metrics)) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it finished before it could be killed"
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, CopsdError), done.output
    assert done.exception.code == ExitCode.RUN
    assert str(done.exception) == "1 of 3 arms failed (broken); the same command tries them again."
    assert "each arm against the base" in done.output
    return folder / "out"


def test_a_killed_comparison_continues_and_spends_what_it_said(finished: Path) -> None:
    for arm, stage in (("opsa", "distill"), ("sft", "sft")):
        lines = [line for line in read_lines(finished / "arms" / arm / "metrics.jsonl") if line["stage"] == stage]
        assert [line["step"] for line in lines] == [1, 2, 3, 4]
        assert 0 < sum(line["tokens"] for line in lines) <= 384
        recipe = json.loads((finished / "arms" / arm / "run.json").read_text())["recipe"]
        assert recipe["prompts"] == [str(finished / "prompts.jsonl")]


def test_all_stand_in_one_table_and_the_failed_one_with_its_sentence(finished: Path) -> None:
    text = (finished / "leaderboard.md").read_text()
    table = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")][:6]
    cells = [[cell.strip() for cell in line] for line in table]
    assert cells[0][:5] == ["Arm", "Updates", "Tokens", "mini: appropriate", "change"]
    assert [line[0] for line in cells[2:]] == ["base", "opsa", "broken", "sft"]
    assert [line[1] for line in cells[2:]] == ["–", "4", "failed", "4"]
    assert all("[" in line[4] for line in (cells[3], cells[5]))  # a paired change with its interval
    assert "broken failed: There is no adapter folder /nowhere/adapter; give the folder PEFT saved." in text
    assert {path.stem for path in (finished / "records").iterdir()} == {"base", "opsa", "sft"}
    shown = CliRunner().invoke(app, ["status", str(finished / "arms" / "sft")])
    assert "finished" in shown.output


def test_another_budget_in_the_same_folder_is_refused(finished: Path, command: list[str]) -> None:
    weights = finished / "arms" / "opsa" / "student" / "adapter_model.safetensors"
    before = weights.stat().st_mtime_ns
    other = [value if value != "384" else "576" for value in command]
    refused = CliRunner().invoke(app, other)
    assert isinstance(refused.exception, CopsdError)
    assert "opsa holds a run of another recipe" in str(refused.exception)
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--recipes", "opsa,copds"], "Unknown recipe 'copds'; did you mean 'copsd'?"),
        (["--recipes", ","], "There is no recipe to run"),
        (["--recipes", "opsa,opsa"], "Two recipes have the name 'opsa'"),
        (["--recipes", "opsa", "--set", "sft.epochs=2"], "--set sft.epochs=2 is for a stage that none of these"),
        (["--recipes", "opsa,sft", "--updates", "25"], "Recipe opsa cannot be matched"),
        *(
            (["--recipes", "copsd,opsa", "--set", change], f"--set {change} is not for run-all")
            for change in ("prompts=[/nowhere.jsonl]", "rows={safety: 3}", "corpus.rows.safety=3", "corpus={rows: {}}")
        ),
        (
            ["--recipes", "opsd-const,safesteer", "--updates", "24", "--budget-tokens", "200000"],
            "Recipe safesteer cannot be matched: 200000 tokens are more than all 16 prompts",
        ),
        (["--recipes", "opsa", "--eval", "max_token=3"], "did you mean 'max_tokens'?"),
        (["--recipes", "opsa", "--eval", "adapter=x"], "Unknown setting of --eval 'adapter'"),
        (["--recipes", "opsa", "--suite", "minni"], "Unknown suite 'minni'; did you mean 'mini'?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    tiny: ResolvedModel, tmp_path: Path, options: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    asked = CliRunner().invoke(app, ["run-all", "--demo", "--model", str(tiny.path), "--out", str(out), *options])
    assert isinstance(asked.exception, CopsdError)
    assert sentence in str(asked.exception)
    assert not out.exists()


def arms(names: str, changes: list[str], chosen: list[Path], out: Path, base: ResolvedModel) -> list[comparison.Arm]:
    """Begun, at the budget of the first."""
    loaded = comparison.load_recipes(names.split(","), changes, demo=False)
    allowed = all(recipe.allow_overlap for recipe in loaded)
    rows = comparison.common_prompts(chosen, None, False, 0, allowed)
    counts = [comparison.prompts_of(recipe, rows) for recipe in loaded]
    matched = comparison.matched(loaded, comparison.first_budget(loaded, None, None, counts), counts)
    return comparison.begin(out, matched, rows, base, [])


@pytest.mark.parametrize(("allowed", "left_out"), [("false", 1), ("true", 0)])
def test_prompts_of_the_steering_stage_are_checked_in_an_arm_as_in_a_run(
    tiny: ResolvedModel, tmp_path: Path, allowed: str, left_out: int
) -> None:
    file = refusing.save_prompts(tmp_path / "prompts.jsonl")
    with file.open("a") as out:
        out.write(json.dumps({"kind": "safety", "prompt": load_mini_items()[0].prompt}) + "\n")
    changes = [f"steering.prompts=[{file}]", "steering.train=10", "steering.validation=4", f"allow_overlap={allowed}"]
    [arm] = arms("safesteer", changes, [], tmp_path / "out", tiny)
    assert contrast_of(arm.run.recipe)["harmful"].overlapping == left_out


def test_every_arm_counts_the_prompts_that_it_is_going_to_train_on(tiny: ResolvedModel, tmp_path: Path) -> None:
    """A one-sided recipe takes all that are to be refused, however few it would draw by itself."""
    [alone] = arms("safesteer", [], [], tmp_path / "packaged", tiny)
    assert (alone.prompts, alone.recipe.distill.steps) == (96, 24)  # type: ignore[union-attr]
    rows = [{"kind": "safety", "prompt": f"How do I break lock number {i}?"} for i in range(130)]
    rows += [{"kind": "safety", "prompt": "What should I do now?", "route": "help"}]
    rows += [{"kind": "general", "prompt": f"Why is the sky blue on day {i}?"} for i in range(30)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    changes = ["distill.prompts_per_step=16", "distill.rollout.per_prompt=8", "distill.rollout.max_tokens=8"]
    names = "opsd-const,copsd,safesteer"
    both = arms(names, [*changes, "corpus.max_tokens=8"], [tmp_path / "mine.jsonl"], tmp_path / "mine", tiny)
    assert [arm.prompts for arm in both] == [161, 161, 130]
    assert [len(load_rows(arm.recipe.prompt_config)) for arm in both] == [161, 161, 130]
