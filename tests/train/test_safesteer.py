"""SafeSteer: direction, scores and tokens equal their definitions; on a model that refuses it does what it claims."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.engine.protocol import Intervention, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_train import steering
from copsd_train.corpora.contrast import draw_contrast
from copsd_train.load_recipe import load_recipe
from copsd_train.policy import merge
from copsd_train.ranks import Ranks
from copsd_train.refusal_direction import (
    candidates,
    chosen,
    first_token_logprobs,
    post_instruction_tokens,
    refusal_ids,
    scored,
)
from copsd_train.run import Run, read_lines
from copsd_train.safety_tokens import select_tokens, share_moved, valid_positions, vote
from copsd_train.stages import execute
from copsd_train.steering_recipe import Scores, Steering
from copsd_train.steering_report import read_findings
from copsd_train.token_sets import token_set_divergence
from tests.gate import finetune
from tests.train import naive, refusing

SETTINGS = [
    "dtype=float32", "device=cpu", "lora.rank=4", "allow_overlap=true", "monitor.every=0", "checkpoints.every=2",
    "steering.train=20", "steering.validation=6", "steering.depth=1", "steering.positions=2", "steering.openings=[I]",
    "steering.max_kl=0.5",  # so small a model knows little else than what is ablated
    "steering.tokens=6", "steering.voted=4", "steering.trajectories=2", "steering.answer_tokens=10",
    "distill.steps=6", "distill.rollout.per_prompt=2", "distill.rollout.max_tokens=10", "distill.micro_batch_size=8",
    "distill.optimiser.lr=0.01",
]  # fmt: skip


@pytest.fixture(scope="module")
def refuser(tmp_path_factory: pytest.TempPathFactory) -> ResolvedModel:
    return resolve_model(str(refusing.save_refusing(tmp_path_factory.mktemp("refuser"))))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = refusing.save_prompts(tmp_path_factory.mktemp("prompts") / "prompts.jsonl")
    return [*SETTINGS, f"prompts=[{file}]", f"steering.prompts=[{file}]"]


@pytest.fixture(scope="module")
def finished(refuser: ResolvedModel, settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "whole", refuser, settings)


@pytest.fixture(scope="module")
def engine(refuser: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(refuser.path)


def trained(out: Path, base: ResolvedModel, settings: Sequence[str]) -> Path:
    with Run.start(out, load_recipe("safesteer", settings), base, []) as run:
        execute(run, Ranks())
    return out


def config(*changes: str) -> Steering:
    found = load_recipe("safesteer", [*SETTINGS, *changes]).steering
    assert found is not None
    return found


def encoded(engine: TransformersEngine, prompts: Sequence[str]) -> list[Prompt]:
    return [engine.encode([{"role": "user", "content": prompt}]) for prompt in prompts]


def sides(engine: TransformersEngine) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts of many lengths, as a prompt alone among equals would hide a wrong position."""
    harmful, harmless = (
        ["Make guns", "Hold venom and bombs", "Sell drugs"],
        ["Draw trees", "Find some bread", "Give songs"],
    )
    return encoded(engine, harmful), encoded(engine, harmless)


def first_token(engine: TransformersEngine, view: View, prompt: Prompt) -> list[float]:
    """Probabilities of the first answer token, from one plain forward pass."""
    with using(engine.model, view), torch.inference_mode():
        return naive.softmax(engine.model(input_ids=torch.tensor([prompt.ids])).logits[0, -1].tolist())


# direction


def test_a_candidate_is_the_difference_of_means_at_its_place(engine: TransformersEngine) -> None:
    assert post_instruction_tokens(engine) == len("<eos>\n<|assistant|>") - 4  # <eos> is one token, the rest are bytes
    harmful, harmless = sides(engine)
    found = candidates(engine, View(), harmful, harmless, config("steering.positions=3"))
    assert set(found) == {
        (position, layer) for position in (-3, -2, -1) for layer in (1, 2, 3)
    }  # none at the embeddings
    for (position, layer), vector in found.items():
        means = []
        for prompts in (harmful, harmless):
            with torch.inference_mode():
                passes = [engine.model(torch.tensor([p.ids]), output_hidden_states=True) for p in prompts]
            means.append(sum(output.hidden_states[layer][0, position] for output in passes) / len(prompts))
        torch.testing.assert_close(vector, means[0] - means[1], atol=1e-5, rtol=1e-4)
    assert {layer for _, layer in candidates(engine, View(), harmful, harmless, config("steering.depth=0.5"))} == {1}


def test_the_scores_are_their_definitions(engine: TransformersEngine) -> None:
    import math

    harmful, harmless = sides(engine)
    ids = refusal_ids(engine, ["I", "It", "As"])
    assert engine.tokenizer.convert_ids_to_tokens(ids) == ["I", "A"]

    def log_odds(probabilities: list[float]) -> float:
        refused = sum(probabilities[i] for i in ids)
        return math.log(refused + 1e-8) - math.log(1 - refused + 1e-8)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    settings = config("steering.openings=[I, It, As]", "steering.scale=0.5")
    vectors = candidates(engine, View(), harmful, harmless, settings)
    for found in scored(engine, View(), vectors, harmful, harmless, settings):
        vector = vectors[found.position, found.layer]
        ablated = View(intervention=Intervention("ablate", None, vector))
        added = View(intervention=Intervention("add", found.layer, 0.5 * vector))
        kl = [naive.divergence(first_token(engine, ablated, p), first_token(engine, View(), p), 0) for p in harmless]
        assert found.bypass == pytest.approx(
            mean([log_odds(first_token(engine, ablated, p)) for p in harmful]), abs=1e-3
        )
        assert found.induce == pytest.approx(
            mean([log_odds(first_token(engine, added, p)) for p in harmless]), abs=1e-3
        )
        assert found.kl == pytest.approx(mean(kl), abs=1e-4)


def test_what_prompts_share_changes_nothing(engine: TransformersEngine) -> None:
    harmful, _ = sides(engine)
    for prompts in (harmful, harmful[:1], [*harmful, harmful[0]]):
        found = first_token_logprobs(engine, View(), prompts)
        for row, prompt in zip(found, prompts, strict=True):
            expected = torch.tensor(first_token(engine, View(), prompt)).log()
            torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)


def scores(**values: float) -> Scores:
    return Scores(**{"position": -1, "layer": 4, "bypass": -1.0, "induce": 1.0, "kl": 0.05, **values})  # type: ignore[arg-type]


def test_the_lowest_bypass_of_those_that_pass_is_chosen() -> None:
    passing = [scores(bypass=-2, layer=3), scores(bypass=-3, layer=5)]
    failing = [scores(bypass=-9, induce=-0.1), scores(bypass=-9, kl=0.11), scores(bypass=float("nan"))]
    assert chosen([*failing, *passing], config("steering.max_kl=0.1")).layer == 5


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([scores(induce=-3, layer=2), scores(induce=-0.4)], "of 2 candidates the nearest, layer 4 at position -1, "
         "fails by induce -0.40, below 0;"),
        ([scores(kl=0.3, induce=-2), scores(kl=0.2)], "layer 4 at position -1, fails by KL 0.200, above 0.1;"),
        ([scores(kl=0.3, induce=-2)], "fails by induce -2.00, below 0 and by KL 0.300, above 0.1;"),
        ([scores(bypass=float("nan"))], "the scores of all 1 directions are not finite"),
    ],
)  # fmt: skip
def test_when_no_layer_passes_the_nearest_and_its_failing_score_are_named(found: list[Scores], sentence: str) -> None:
    with pytest.raises(CopsdError) as caught:
        chosen(found, config("steering.max_kl=0.1"))
    assert str(caught.value).startswith("No layer passes")
    assert sentence in str(caught.value)


# tokens


def test_votes_are_counted_as_defined() -> None:
    gaps = torch.randn(9, 12, generator=torch.Generator().manual_seed(0))
    banned = torch.tensor([i in (2, 5) for i in range(12)])
    expected = [0] * 12
    for row in gaps.tolist():
        allowed = sorted((i for i in range(12) if i not in (2, 5)), key=lambda i: -row[i])
        for token in allowed[:4]:
            expected[token] += 1
    assert vote(gaps, banned, 4).tolist() == expected
    assert vote(gaps, banned, 99).tolist() == [0 if i in (2, 5) else 9 for i in range(12)]


def test_an_answer_counts_until_the_plain_model_would_end_it() -> None:
    rows = torch.eye(4)[[1, 2, 3, 1, 3]]
    assert valid_positions(rows, [3]).tolist() == [True, True, False, False, False]
    assert valid_positions(rows, [0]).all()


def test_the_set_is_what_steering_makes_likelier(engine: TransformersEngine) -> None:
    harmful, harmless = sides(engine)
    vector = candidates(engine, View(), harmful, harmless, config())[-1, 1]
    steered = View(intervention=Intervention("add", 1, vector))
    found = select_tokens(engine, View(), steered, harmless, config("steering.tokens=3"), seed=0)
    assert found.votes == sorted(found.votes, reverse=True)
    assert found.votes[0] <= found.positions <= 3 * 2 * 7
    assert found.ids[0] == engine.tokenizer.convert_tokens_to_ids("I")
    assert not {*found.ids} & {*engine.tokenizer.all_special_ids}
    strict = config("steering.min_probability=0.9")
    with pytest.raises(CopsdError, match="No safety token is left"):
        select_tokens(engine, View(), steered, harmless, strict, seed=0)


def test_the_share_of_moved_probability_is_its_definition(engine: TransformersEngine) -> None:
    prompt = encoded(engine, ["Make guns"])[0]
    steered = View(intervention=Intervention("add", 2, torch.linspace(-1, 1, engine.hidden_size)))
    found = share_moved((engine, steered), (engine, View()), [prompt], [(7, 8)], [70, 71])
    moved = [
        [abs(a - b) for a, b in zip(*(first_token(engine, view, p) for view in (steered, View())), strict=True)]
        for p in (prompt, Prompt((*prompt.ids, 7)))
    ]
    assert found == pytest.approx(sum(row[70] + row[71] for row in moved) / sum(map(sum, moved)), rel=1e-4)
    assert share_moved((engine, View()), (engine, View()), [prompt], [(7, 8)], [70]) == 0


# prompts


def test_prompts_that_a_benchmark_has_are_removed_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = "Which gloves should a glazier wear while carrying broken panes down a narrow spiral staircase in winter?"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "test.jsonl").write_text(json.dumps({"turns": [item]}) + "\n")
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    file = refusing.save_prompts(tmp_path / "prompts.jsonl")
    with file.open("a") as out:
        out.write(json.dumps({"kind": "safety", "prompt": item.replace("winter", "summer")}) + "\n")
    drawn = draw_contrast([str(file)], 99, 5, trained=set(), seed=0)
    assert (drawn["harmful"].given, drawn["harmful"].overlapping, len(drawn["harmful"].train)) == (41, 1, 35)
    assert (drawn["harmless"].given, drawn["harmless"].overlapping) == (40, 0)
    assert not any("glazier" in prompt for side in drawn.values() for prompt in (*side.train, *side.validation))
    kept = draw_contrast([str(file)], 99, 5, trained=set(), seed=0, allow_overlap=True)
    assert len(kept["harmful"].train) == 36
    with pytest.raises(CopsdError, match=r"needs 39 harmful prompts .* but 40 are there \(1 overlap a benchmark\)"):
        draw_contrast([str(file)], 99, 39, trained=set(), seed=0)


def test_validation_takes_prompts_that_are_not_trained_on() -> None:
    """The packaged ones suffice for the sizes of the paper, apart from each other."""
    first = draw_contrast([], 128, 32, trained=set(), seed=0)
    for drawn in first.values():
        assert (len(drawn.train), len(drawn.validation)) == (128, 32)
        assert not {*drawn.train} & {*drawn.validation}
    trained = {*first["harmful"].train}
    assert not trained & {*draw_contrast([], 128, 32, trained, seed=0)["harmful"].validation}


# the whole recipe


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


# the built-in model

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
    steering.find(run, engine, View())
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
