"""Runs on disk: killed at any moment and resumed, they give the numbers of a run that was never interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from copsd_bench.constitution import constitutions_dir
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.load_recipe import load_recipe
from copsd_train.ranks import Ranks
from copsd_train.run import Run
from copsd_train.run_files import file_digests, require_unchanged
from copsd_train.run_folder import read_info, read_lines
from copsd_train.stages import execute
from tests.train.conftest import PROMPTS, SMALL

ROOT = Path(__file__).parents[2]
MINI = ROOT / "copsd_bench" / "data" / "mini.jsonl"
TRAIN = [sys.executable, "-m", "copsd_train.cli"]
# As many threads as the runs in this process: sums of floats depend on it.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.fixture(scope="module")
def settings(prompts_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A teacher fine-tuned on four rows, then a student: nine logged steps."""
    data = tmp_path_factory.mktemp("data") / "sft.jsonl"
    rows = [{"id": p["id"], "prompt": p["prompt"], "kind": p["kind"], "response": "Let us talk."} for p in PROMPTS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        *SMALL, f"prompts=[{prompts_file}]", "corpus=null", f"sft.data={data}", "sft.batch_size=2", "sft.epochs=2",
        "distill.steps=5", "monitor.every=2", "monitor.limit=3", "monitor.max_tokens=4", "lora.dropout=0.1",
    ]  # fmt: skip


def start(out: Path, base: ResolvedModel, settings: list[str], *changes: str) -> Run:
    return Run.start(out, load_recipe("copsd", [*settings, *changes]), base, [])


def train(run: Run) -> None:
    with run:
        execute(run, Ranks())


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = read_lines(folder / "metrics.jsonl")
    return [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TRAIN, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: ResolvedModel, settings: list[str]) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(start(out, tiny, settings))
    return out


def test_a_run_killed_in_each_stage_equals_one_never_interrupted(
    tiny: ResolvedModel, settings: list[str], finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    changes = [part for setting in settings for part in ("--set", setting)]
    first = [*TRAIN, "run", "copsd", "--model", str(tiny.path), "--out", str(out), *changes]
    for arguments, lines in ((first, 3), ([*TRAIN, "resume", str(out)], 7)):
        process = subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while len(read_lines(out / "metrics.jsonl")) < lines and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it finished before it could be killed"
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "distill", "st')  # a line cut by the kill
    assert command("resume", str(out)).returncode == 0
    assert metrics(out) == metrics(finished)
    assert read_lines(out / "samples.jsonl") == read_lines(finished / "samples.jsonl")
    for adapter in ("teacher", "student"):
        weights = [(folder / adapter / "adapter_model.safetensors").read_bytes() for folder in (out, finished)]
        assert weights[0] == weights[1]


def test_what_a_run_leaves(finished: Path) -> None:
    rows = metrics(finished)
    assert [(row["stage"], row["step"]) for row in rows] == [
        *(("sft", i) for i in range(1, 5)),
        *(("distill", i) for i in range(1, 6)),
    ]
    assert rows[0]["loss"] > rows[3]["loss"]
    assert {"reward", "kl_teacher", "kl_base", "entropy", "tokens_mean", "clipped", "noise_floor"} <= set(rows[-1])
    assert "monitor/tokens_median" in rows[5]
    assert "monitor/tokens_median" not in rows[6]
    sample = read_lines(finished / "samples.jsonl")[0]
    assert len(sample["rewards"]) == len(sample["ids"]) == len(sample["advantages"])
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == [
        "distill-000004", "distill-000005", "sft-000003", "sft-000004",
    ]  # fmt: skip
    assert list((finished / "tensorboard").iterdir())
    assert yaml.safe_load((finished / "recipe.yaml").read_text())["name"] == "copsd"


def test_the_same_command_on_a_finished_run_changes_nothing(
    tiny: ResolvedModel, settings: list[str], finished: Path
) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    train(start(finished, tiny, settings))
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_another_recipe_in_the_same_folder_is_refused_by_its_key(
    tiny: ResolvedModel, settings: list[str], finished: Path
) -> None:
    with pytest.raises(CopsdError, match=r"another recipe: distill.optimiser.lr was 0.001 and is now 0.1"):
        start(finished, tiny, settings, "distill.optimiser.lr=0.1")


def test_a_run_that_failed_before_its_first_work_may_be_corrected(
    tiny: ResolvedModel, settings: list[str], tmp_path: Path
) -> None:
    out, prompts = tmp_path / "run", tmp_path / "prompts.jsonl"
    with pytest.raises(CopsdError, match=r"no corpus file"):
        train(start(out, tiny, settings, f"prompts=[{prompts}]"))
    prompts.write_text("{}\n")
    with pytest.raises(CopsdError, match=r"line 1"):
        train(start(out, tiny, settings, f"prompts=[{prompts}]"))
    prompts.write_text('{"prompt": "Hello"}\n')
    with pytest.raises(CopsdError, match=r"line 1"):  # not: the file has changed
        train(start(out, tiny, settings, f"prompts=[{prompts}]"))
    assert start(out, tiny, settings).recipe.prompts != [str(prompts)]
    with start(out, tiny, settings), pytest.raises(CopsdError, match=r"another recipe"):
        start(out, tiny, settings, "distill.optimiser.lr=0.1")  # somebody is at work in it


def test_a_recipe_edited_in_the_folder_is_refused_by_its_key(finished: Path) -> None:
    file = finished / "recipe.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace("per_prompt: 2", "per_prompt: 4"))
        with pytest.raises(CopsdError, match=r"changed after the run began: distill.rollout.per_prompt was 2 and is"):
            Run.open(finished)
    finally:
        file.write_text(text)


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_place_of_the_folder_is_refused(
    tiny: ResolvedModel, settings: list[str], prompts_file: Path, below: str
) -> None:
    with pytest.raises(CopsdError, match=r"cannot be a folder \((File exists|Not a directory)\); choose another"):
        start(prompts_file / below, tiny, settings)


def test_data_that_changed_is_not_trained_on_further(finished: Path, tmp_path: Path) -> None:
    """A finished run does not need its data any more."""
    out = shutil.copytree(finished, tmp_path / "run")
    [name] = [name for name in read_info(out)["files"] if name.endswith("sft.jsonl")]
    text = Path(name).read_text()
    try:
        Path(name).write_text(text.replace("Let us talk.", "Let us go."))
        train(Run.open(out))
        shutil.rmtree(out / "student")
        with pytest.raises(CopsdError, match=r"sft.jsonl was changed after the run in .* began; put it back"):
            train(Run.open(out))
    finally:
        Path(name).write_text(text)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("run.json", "[]", "is of another version"),
        ("checkpoints/distill-000005/state.pt", "x", "distill-000005/state.pt cannot be read, it was altered"),
    ],
)
def test_an_altered_run_is_refused_in_one_sentence(
    finished: Path, tmp_path: Path, file: str, text: str, sentence: str
) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(out / "student")
    (out / file).write_text(text)
    with pytest.raises(CopsdError, match=sentence):
        train(Run.open(out))


def test_two_processes_do_not_train_in_one_folder(finished: Path) -> None:
    with Run.open(finished), pytest.raises(CopsdError, match="Another process is training"):
        Run.open(finished).__enter__()


def test_a_full_disk_ends_the_run_in_a_sentence_and_keeps_the_last_checkpoint(
    tiny: ResolvedModel, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(tmp_path / "full", tiny, settings)
    save = Run.save

    def save_on_a_full_disk(self: Run, stage: str, step: int, *rest: object) -> None:
        if step == 2:
            (self.folder / "metrics.jsonl").unlink()
            (self.folder / "metrics.jsonl").symlink_to("/dev/full")
        save(self, stage, step, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "save", save_on_a_full_disk)
    with pytest.raises(CopsdError, match="is full at step 3; the last checkpoint is kept") as caught:
        train(run)
    assert caught.value.code == ExitCode.DISK
    assert run.checkpoints("sft")[-1].step == 2


def test_the_monitor_stops_a_run_that_has_collapsed(
    tiny: ResolvedModel, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from copsd_bench.records.verdict import Verdict
    from copsd_train import monitor

    found = Verdict(state="collapsed", damages=["shortening"], reasons=["answers are short"])
    monkeypatch.setattr(monitor, "judge_collapse", lambda base, rows: found)
    run = start(tmp_path / "stopped", tiny, settings, "monitor.stop_on=collapsed")
    with pytest.raises(CopsdError, match=r"Stopped at step 2 .* collapsed \(answers are short\)"):
        train(run)
    assert run.checkpoints("distill")[-1].step == 2
    assert not run.finished("distill")
    with pytest.raises(CopsdError, match=r"Stopped at step 2 .*without stopped.txt there"):
        train(Run.open(tmp_path / "stopped"))
    assert not run.finished("distill")
    (tmp_path / "stopped" / "stopped.txt").unlink()
    monkeypatch.setattr(monitor, "judge_collapse", lambda base, rows: Verdict(state="healthy", damages=[], reasons=[]))
    train(Run.open(tmp_path / "stopped"))
    assert run.finished("distill")


def test_a_student_is_watched_while_it_is_fine_tuned(
    tiny: ResolvedModel, settings: list[str], prompts_file: Path, tmp_path: Path
) -> None:
    [data] = [change for change in settings if change.startswith("sft.data=")]
    changes = ["dtype=float32", "device=cpu", "lora.rank=4", "allow_overlap=true", f"prompts=[{prompts_file}]"]
    changes += ["corpus=null", data, "sft.steps=2", "sft.batch_size=2"]
    changes += ["monitor.every=2", "monitor.limit=3", "monitor.max_tokens=4", "checkpoints.every=1"]
    run = Run.start(tmp_path / "run", load_recipe("sft", changes), tiny, [])
    train(run)
    assert ["monitor/tokens_median" in row for row in metrics(tmp_path / "run")] == [False, True]


@pytest.mark.parametrize("section", ["prompts", "steering", "sft"])
def test_constitutions_and_images_that_rows_name_are_known_by_content(tmp_path: Path, section: str) -> None:
    rules, image, corpus = tmp_path / "mine.yaml", tmp_path / "seen.png", tmp_path / "corpus.jsonl"
    rules.write_text((constitutions_dir() / "privacy.yaml").read_text(), encoding="utf-8")
    image.write_bytes(b"one picture")
    row: dict[str, object] = {"prompt": "Hi?", "kind": "general", "image": "seen.png"}
    row |= {"context": str(rules), "response": "Hello."} if section == "sft" else {"constitution": str(rules)}
    corpus.write_text(json.dumps(row), encoding="utf-8")
    recipe = {
        "prompts": {"prompts": [str(corpus)]},
        "steering": {"steering": {"prompts": [str(corpus)]}},
        "sft": {"sft": {"data": str(corpus)}},
    }[section]
    before = file_digests(recipe)
    assert {str(rules), str(image)} < set(before)
    require_unchanged(tmp_path, before, file_digests(recipe))
    image.write_bytes(b"another picture")
    with pytest.raises(CopsdError, match=r"seen\.png was changed after the run"):
        require_unchanged(tmp_path, before, file_digests(recipe))


def test_a_step_of_more_prompts_than_there_are_is_refused_before_the_teacher_is_trained(
    tiny: ResolvedModel, settings: list[str], tmp_path: Path
) -> None:
    run = start(tmp_path / "run", tiny, settings, "distill.prompts_per_step=5")
    with pytest.raises(CopsdError, match="prompts_per_step is 5, but the corpus has 4 prompts"):
        train(run)
    assert not run.checkpoints("sft")


@pytest.mark.parametrize("name", ["sft.data", "preference.pairs"])
def test_examples_and_pairs_of_evaluation_items_are_refused_before_anything_is_trained(
    tiny: ResolvedModel, tmp_path: Path, name: str
) -> None:
    [item, other] = [line for line in MINI.read_text().splitlines() if '"prompt"' in line][:2]
    answers = {"sft.data": {"response": "No."}, "preference.pairs": {"chosen": "No.", "rejected": "Yes."}}[name]
    data = tmp_path / "data.jsonl"
    rows = [
        {"prompt": json.loads(text)["prompt"], "kind": kind, **answers}
        for text, kind in ((item, "safety"), (other, "general"))
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = {
        "sft.data": ("copsd", [f"sft.data={data}", "corpus=null"]),
        "preference.pairs": (
            "cai-rl", [f"preference.pairs={data}", "preference.feedback=null", "preference.rollout=null"]
        ),
    }[name]  # fmt: skip
    recipe = load_recipe(stages[0], [*stages[1], "dtype=float32", "device=cpu"])
    run = Run.start(tmp_path / "run", recipe, tiny, [])
    with pytest.raises(CopsdError, match=r"data.jsonl overlaps the benchmarks in 2 of 2 prompts"):
        train(run)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_teacher_that_was_exchanged_is_not_learned_from_further(
    tiny: ResolvedModel, settings: list[str], finished: Path, tmp_path: Path
) -> None:
    teacher = shutil.copytree(finished / "teacher", tmp_path / "teacher")
    out, changes = tmp_path / "run", ["sft=null", f"distill.teacher.path={teacher}"]
    without_sft = [setting for setting in settings if not setting.startswith("sft.")]
    train(start(out, tiny, without_sft, *changes))
    shutil.rmtree(out / "student")
    shutil.copyfile(finished / "student" / "adapter_model.safetensors", teacher / "adapter_model.safetensors")
    with pytest.raises(CopsdError, match=r"teacher was changed after the run in .* began"):
        train(Run.open(out))


def test_an_outcome_source_that_no_prompt_has_is_refused(
    tiny: ResolvedModel, prompts_file: Path, tmp_path: Path
) -> None:
    outcome = "distill.outcome={judge: refusal, sources: [promts.jsonl]}"
    recipe = load_recipe("opsd-const", [*SMALL, f"prompts=[{prompts_file}]", outcome])
    with pytest.raises(CopsdError, match=r"names 'promts.jsonl', but no prompt has .*; there are prompts.jsonl\."):
        train(Run.start(tmp_path / "run", recipe, tiny, []))


def test_a_corpus_is_not_made_one_sided_by_drawing_no_rows_of_the_other_kinds(
    tiny: ResolvedModel, prompts_file: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("opsd-const", [*SMALL, f"prompts=[{prompts_file}]", "rows={general: 0, over_refusal: 0}"])
    with pytest.raises(CopsdError, match="drawn as `rows` says, has 2 safety rows and 0 others"):
        train(Run.start(tmp_path / "run", recipe, tiny, []))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "has no rows"),
        ([PROMPTS[0]], "has 1 safety rows and 0 others"),
        ([PROMPTS[2]], "has 0 safety rows and 1 others"),
    ],
    ids=["empty", "safety only", "general only"],
)
def test_an_empty_or_one_sided_corpus_is_refused(
    tiny: ResolvedModel, tmp_path: Path, rows: list[dict[str, str]], sentence: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load_recipe("opsd-const", [*SMALL, f"prompts=[{file}]"])
    with pytest.raises(CopsdError, match=sentence):
        train(Run.start(tmp_path / "run", recipe, tiny, []))


def test_the_command_line(finished: Path, tmp_path: Path) -> None:
    """List, status and merge; and errors as one sentence with an exit code, on the way a user takes."""
    listed = command("list")
    assert "opsd-const" in listed.stdout
    shown = command("status", str(finished))
    assert "finished" in shown.stdout
    merged = command("merge", str(finished), "--out", str(tmp_path / "merged"))
    assert merged.returncode == 0, merged.stderr
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    wrong = command("run", "copsd", "--set", "distill.lrr=1")
    assert wrong.returncode == ExitCode.USAGE
    assert wrong.stderr == "error: Unknown recipe key 'distill.lrr'; did you mean 'distill.optimiser.lr'?\n"
    nowhere = command("resume", str(tmp_path))
    assert "holds no run" in nowhere.stderr
    assert "Traceback" not in nowhere.stderr


def test_help_is_there_in_half_a_second() -> None:
    def seconds() -> float:
        before = os.times()
        assert command("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.5
