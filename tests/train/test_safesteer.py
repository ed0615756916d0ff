"""SafeSteer as a whole: on a model that refuses it does what it claims."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine.protocol import Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_train import steering
from copsd_train.adapters import merge
from copsd_train.load_recipe import load_recipe
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.steering_report import read_findings
from copsd_train.token_sets import token_set_divergence
from tests.gate import finetune
from tests.train import refusing
from tests.train.steered import SETTINGS, encoded, trained


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = refusing.save_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl")
    return [*SETTINGS, f"prompts=[{file}]", f"steering.prompts=[{file}]"]


@pytest.fixture(scope="module")
def finished(refuser: ResolvedModel, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "whole", refuser, settings)


def test_the_steered_teacher_refuses_what_the_model_does_not(finished: Path) -> None:
    """Acceptance checks (a) and (b) on a model that refuses."""
    found = read_findings(finished / "steering")
    assert found.refused["base"]["harmful"].value == 1
    assert found.refused["base"]["harmless"].value == 0
    assert (found.refused["teacher"]["harmless"].value or 0) >= 0.95
    assert found.covered["teacher"] > 2 * found.covered["base"]
    assert found.tokens[0].text == "I"
    assert found.tokens[0].votes > 0.9 * found.voters


def test_training_moves_probability_on_the_set_and_refuses_no_more(
    finished: Path, refuser: ResolvedModel, settings: list[str], tmp_path: Path
) -> None:
    """Acceptance checks (c) and (d)."""
    local = read_findings(finished / "steering")
    full = read_findings(
        trained(tmp_path / "full", refuser, [*settings, "distill.signal={kind: full, beta: 1}"]) / "steering"
    )
    assert local.token_ids == full.token_ids
    assert (local.moved or 0) > 5 * len(local.tokens) / local.vocabulary
    assert full.covered["student"] > 1.2 * full.covered["base"] > local.covered["student"]
    assert local.refused["student"]["harmless"].value == local.refused["base"]["harmless"].value


def test_the_report_says_what_was_chosen(finished: Path) -> None:
    found, text = read_findings(finished / "steering"), (finished / "steering" / "report.md").read_text()
    assert f"at the input of block {found.layer} (of 0 to 3)" in text
    assert "`'I'`" in text
    assert "| student |" in text
    assert text.count("\n| ") == (2 + 3) + (2 + 2) + (2 + len(found.scores))
    logged = [row for row in read_lines(finished / "metrics.jsonl") if row["stage"] == "steering"]
    assert [row["layer"] for row in logged] == [score.layer for score in found.scores]


def test_interrupted_anywhere_it_ends_as_if_it_had_not_been(
    refuser: ResolvedModel, settings: list[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = Run.log, tmp_path / "run"
    for stage, step in (("steering", 4), ("distill", 3)):

        def stopped(self: Run, at: str, number: int, metrics: Any, end: Any = (stage, step)) -> None:
            log(self, at, number, metrics)
            if (at, number) == end:
                with (out / "metrics.jsonl").open("a") as file:
                    file.write('{"stage": "stee')
                raise KeyboardInterrupt

        monkeypatch.setattr(Run, "log", stopped)
        with pytest.raises(KeyboardInterrupt):
            trained(out, refuser, settings)
    monkeypatch.setattr(Run, "log", log)
    trained(out, refuser, settings)
    files = (
        "steering/steering.json",
        "steering/report.md",
        "steering/direction.safetensors",
        "student/adapter_model.safetensors",
    )
    for file in files:
        assert (out / file).read_bytes() == (finished / file).read_bytes(), file
    rows = (
        [{k: v for k, v in row.items() if "time/" not in k} for row in read_lines(folder / "metrics.jsonl")]
        for folder in (out, finished)
    )
    assert next(rows) == next(rows)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("steering=null", "the steering stage belongs to distill.teacher.intervention"),
        ("distill.signal={kind: full, beta: 1, variant: tail}", "variant belongs to kind: token_set"),
        ("distill.signal.variant=released_", "distill.signal.variant: Input should be 'released'"),
        ("distill.signal={kind: sampled}", "does not go with advantage.kind none"),
        ("distill.teacher.intervention=none", "there is nothing to learn from it"),
        ("steering.horizon=1", "steering.horizon: Input should be greater than or equal to 2"),
        ("steering.openings=[]", "steering.openings: List should have at least 1 item"),
        ("steering.max_k=1", "did you mean 'steering.max_kl'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change: str, sentence: str) -> None:
    with pytest.raises(CopsdError) as caught:
        load_recipe("safesteer", [change])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_side_is_trained_on_only_where_the_recipe_says_so(
    refuser: ResolvedModel, settings: list[str], tmp_path: Path
) -> None:
    from copsd_train.corpora.prompts import load_rows

    rows = load_rows(load_recipe("safesteer", settings).prompt_config)
    assert {row.kind for row in rows} == {"safety"}
    packaged = load_rows(load_recipe("safesteer").prompt_config)
    assert {(row.kind, row.route) for row in packaged} == {("safety", "refuse")}
    assert len(packaged) == 96
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"kind": "general", "prompt": "Draw trees"}) + "\n")
    with pytest.raises(CopsdError, match="no prompt to refuse"):
        load_rows(load_recipe("safesteer", [*SETTINGS, f"prompts=[{file}]"]).prompt_config)


REAL = [
    "dtype=float32", "device=cpu", "steering.train=12", "steering.validation=4", "steering.positions=1",
    "steering.layer_step=10", "steering.tokens=20", "steering.voted=20", "steering.trajectories=1",
    "steering.min_probability=1e-3", "steering.answer_tokens=10",
]  # fmt: skip


def test_no_layer_of_the_built_in_model_passes_as_it_refuses_nothing(smollm2: ResolvedModel, tmp_path: Path) -> None:
    sentence = (
        r"^No layer passes, .* the model refuses 0 of 12 harmful prompts and 0 of 4 for validation .* fine-tune it"
    )
    with pytest.raises(CopsdError, match=sentence) as caught:
        trained(tmp_path / "run", smollm2, REAL)
    assert caught.value.code == ExitCode.RUN
    assert not (tmp_path / "run" / "steering").exists()


def test_after_a_short_refusal_fine_tune_the_steered_teacher_refuses_more_and_teaches_on_the_set(
    smollm2: ResolvedModel, tmp_path: Path
) -> None:
    pairs = [*((prompt, finetune.REFUSAL) for prompt in finetune.RISKY), *finetune.HARMLESS]
    taught = tmp_path / "prompts.jsonl"
    kinds = {prompt: "safety" if answer == finetune.REFUSAL else "general" for prompt, answer in pairs}
    taught.write_text("".join(json.dumps({"prompt": prompt, "kind": kind}) + "\n" for prompt, kind in kinds.items()))
    merge(smollm2, finetune.train(smollm2.path, tmp_path / "adapter", pairs, steps=6), tmp_path / "refuser")
    base = resolve_model(str(tmp_path / "refuser"))
    engine = TransformersEngine(base.path)
    # After six steps harmless prompts are half refused too: that goes with the direction, and counts as KL.
    changes = [f"steering.prompts=[{taught}]", "allow_overlap=true", "steering.max_kl=1"]
    run = Run.start(tmp_path / "run", load_recipe("safesteer", [*REAL, *changes]), base, [])
    steering.find(run, engine, View(), base=(engine, View()))
    found = read_findings(run.output("steering"))
    refused = {who: found.refused[who]["harmless"].value or 0 for who in ("base", "teacher")}
    assert refused["teacher"] > refused["base"]
    assert found.covered["teacher"] > 2 * found.covered["base"]
    assert {"I", "'m", " sorry"} <= {token.text for token in found.tokens}

    direction, tokens = steering.steering_of(run.output("steering"))
    prompts = encoded(engine, found.validation["harmful"])
    answers = [answer.ids for answer in engine.generate(View(), prompts, Sampling(6))]
    student, teacher = (
        engine.head.logits(torch.cat(engine.states(view, prompts, answers))).clone()
        for view in (View(), View(intervention=direction))
    )
    ids = torch.tensor(tokens)
    local = share_of_gradient(lambda logits: token_set_divergence(logits, teacher, ids), student, tokens)
    assert local > 0.3 > 500 * len(tokens) / found.vocabulary


def share_of_gradient(loss: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor, tokens: list[int]) -> float:
    """How much of the update of the logits falls on some tokens."""
    with torch.inference_mode(False):
        logits = logits.clone().requires_grad_()
        [gradient] = torch.autograd.grad(loss(logits).sum(), logits)
    return float(gradient[:, tokens].abs().sum() / gradient.abs().sum())
