"""Constitutional AI from prompts to student on a tiny model: both recipes, all algorithms, killed and resumed."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train import preference
from copsd_train.corpora.schema import read_pairs, read_sft
from copsd_train.load_recipe import load_recipe
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.stages import STAGES
from tests.train.conftest import PROMPTS
from tests.train.test_run import ENVIRONMENT, TRAIN, metrics, train

SETTINGS = [
    "dtype=float32", "device=cpu", "lora.rank=4", "allow_overlap=true", "checkpoints.every=1", "monitor.every=0",
    "corpus.few_shot=0", "corpus.revisions=2", "corpus.max_tokens=8", "sft.batch_size=4", "sft.optimiser.lr=1e-2",
    "preference.feedback.few_shot=0", "preference.rollout.max_tokens=6", "preference.batch_size=2",
    "preference.epochs=5", "preference.optimiser.lr=1e-2",
    "distill.steps=3", "distill.prompts_per_step=2", "distill.minibatches=1", "distill.rollout.per_prompt=3",
    "distill.rollout.max_tokens=6", "distill.optimiser.lr=1e-2", "distill.outcome.feedback.few_shot=0",
]  # fmt: skip


def settings(prompts: Path, *changes: str) -> list[str]:
    """Those of a stage that the changes take away go with it."""
    gone = tuple(f"{stage}." for stage, null, _ in (change.partition("=null") for change in changes) if null)
    return [*(setting for setting in SETTINGS if not setting.startswith(gone)), f"prompts=[{prompts}]", *changes]


def begun(base: ResolvedModel, out: Path, prompts: Path, *changes: str) -> Run:
    return Run.start(out, load_recipe("cai-rl", settings(prompts, *changes)), base, [])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: ResolvedModel, prompts_file: Path) -> Path:
    out = tmp_path_factory.mktemp("cai") / "whole"
    train(begun(tiny, out, prompts_file))
    return out


def test_what_a_run_leaves(finished: Path) -> None:
    rows = metrics(finished)
    assert [row["stage"] for row in rows] == ["sft"] * 2 + ["preference"] * 10
    first = rows[2]
    assert (first["margin"], first["loss"]) == (0.0, pytest.approx(0.6931, abs=1e-4))
    assert 0.5 <= first["label"] <= 1
    weights = [(finished / name / "adapter_model.safetensors").read_bytes() for name in ("sft", "student")]
    assert weights[0] != weights[1]
    assert len(read_pairs(finished / "preference" / "pairs.jsonl")) == len(PROMPTS)
    assert len(read_pairs(finished / "corpus" / "pairs.jsonl")) == 2
    for sheet in ("corpus/samples.md", "preference/samples.md"):
        assert PROMPTS[0]["prompt"] in (finished / sheet).read_text()
    assert {row.kind for row in read_sft(finished / "corpus" / "sft.jsonl")} == {"safety", "over_refusal", "general"}


def test_a_run_killed_while_it_learns_preferences_equals_one_never_interrupted(
    tiny: ResolvedModel, prompts_file: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    changes = [part for setting in settings(prompts_file) for part in ("--set", setting)]
    command = [*TRAIN, "run", "cai-rl", "--model", str(tiny.path), "--out", str(out), *changes]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(read_lines(out / "metrics.jsonl")) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it finished before it could be killed"
    train(Run.open(out))
    assert metrics(out) == metrics(finished)
    for file in ("preference/pairs.jsonl", "sft/adapter_model.safetensors", "student/adapter_model.safetensors"):
        assert (out / file).read_bytes() == (finished / file).read_bytes()


@pytest.mark.parametrize("algorithm", ["online-dpo", "grpo"])
def test_fresh_answers_at_every_step_resume_exactly_too(
    tiny: ResolvedModel, prompts_file: Path, finished: Path, tmp_path: Path, algorithm: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Stopped right before a checkpoint, so that a step is taken twice; from the student that sft left either way."""
    source, stage = f"sft.data={finished / 'corpus' / 'sft.jsonl'}", "distill" if algorithm == "grpo" else "preference"
    changes = ["corpus=null", source, f"rl_algorithm={algorithm}"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(begun(tiny, whole, prompts_file, *changes))
    save = Run.save

    def interrupted(self: Run, stage_: str, step: int, *rest: object) -> None:
        if (stage_, step) == (stage, 2):
            raise KeyboardInterrupt
        save(self, stage_, step, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(begun(tiny, stopped, prompts_file, *changes))
    train(begun(tiny, stopped, prompts_file, *changes))
    assert metrics(stopped) == metrics(whole)
    assert read_lines(stopped / "samples.jsonl") == read_lines(whole / "samples.jsonl")
    assert (stopped / "student" / "adapter_model.safetensors").read_bytes() == (
        whole / "student" / "adapter_model.safetensors"
    ).read_bytes()
    learned = [row for row in metrics(whole) if row["stage"] == stage]
    assert (whole / "sft" / "adapter_model.safetensors").read_bytes() == (
        finished / "sft" / "adapter_model.safetensors"
    ).read_bytes()
    # The student begins as the model it must stay close to.
    assert abs(learned[0]["kl_base" if algorithm == "grpo" else "margin"]) < 1e-9  # two passes, equal but for rounding
    assert abs(learned[-1]["kl_base" if algorithm == "grpo" else "margin"]) > 1e-9


@pytest.mark.parametrize(
    ("change", "labels", "left"),
    [
        ("preference.min_margin=0.2", [0.35, 0.9], (1, 0.0)),
        ("preference.min_margin=0.2", [None, 0.9], (0, 0.5)),
        ("preference.min_margin=0.2", [0.35, None], "1 are closer to a tie than preference.min_margin = 0.2"),
        ("preference.max_tokens=2", [0.1, 0.9], "2 do not fit into preference.max_tokens = 2"),
    ],
)
def test_fresh_pairs_are_left_out_as_given_ones_are(
    tiny: ResolvedModel, prompts_file: Path, tmp_path: Path, change: str, labels: list[float | None],
    left: tuple[int, float] | str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(preference, "_labels", lambda batch, comparer: labels)
    given = ["corpus=null", "sft=null", "rl_algorithm=online-dpo", "preference.epochs=1", change]
    kept = [each for each in settings(prompts_file) if not each.startswith(("corpus.", "sft.", "preference.epochs"))]
    run = Run.start(tmp_path / "run", load_recipe("cai-rl", [*kept, *given]), tiny, [])
    if isinstance(left, str):
        with pytest.raises(CopsdError, match="Step 1: Of 2 pairs none is left") as caught:
            train(run)
        assert left in str(caught.value)
        return
    train(run)
    assert [(row["left_out"], row["unscored"], row["label"]) for row in metrics(run.folder)] == [(*left, 0.9)] * 2


def test_pairs_of_a_corpus_or_a_file_need_no_feedback(
    tiny: ResolvedModel, prompts_file: Path, finished: Path, tmp_path: Path
) -> None:
    """The cheap pairs, revision over draft: from the base model, straight from a file."""
    pairs = finished / "corpus" / "pairs.jsonl"
    given = ["corpus=null", "sft=null", f"preference.pairs={pairs}", "preference.epochs=4"]
    kept = [each for each in settings(prompts_file) if not each.startswith(("corpus.", "sft.", "preference.epochs"))]
    run = Run.start(tmp_path / "run", load_recipe("cai-rl", [*kept, *given]), tiny, [])
    train(run)
    rows = metrics(run.folder)
    assert (rows[0]["margin"], rows[0]["label"]) == (0.0, 1.0)
    assert rows[-1]["margin"] > 0
    assert rows[-1]["accuracy"] == 1.0
    missing = load_recipe("cai-rl", [*kept, *given, "preference.pairs=nowhere.jsonl"])
    with pytest.raises(CopsdError, match=r"There is no corpus file nowhere.jsonl"):
        train(Run.start(tmp_path / "missing", missing, tiny, []))


def test_stages_follow_the_algorithm() -> None:
    for algorithm, last in (("dpo", "preference"), ("online-dpo", "preference"), ("grpo", "distill")):
        stages = load_recipe("cai-rl", [f"rl_algorithm={algorithm}"]).stages
        assert stages == ["corpus", "sft", last]
        assert set(stages) <= set(STAGES)
