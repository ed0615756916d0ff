"""Estimates: what can be counted equals what a real run has in memory; what is known from elsewhere is reproduced."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from copsd_bench.engine.kv import prefill
from copsd_bench.engine.protocol import Prompt
from copsd_bench.errors import CopsdError
from copsd_bench.models.estimate import HARDWARE, Architecture, architecture, forward_seconds, hardware, inference
from copsd_bench.models.resolve import resolve_model
from copsd_train.cli import app
from copsd_train.estimate import estimate, plan_of, trained_parameters
from copsd_train.load_recipe import load_recipe, recipe_names
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.recipe import Recipe
from tests.engine.tiny import save_tiny
from tests.models.tiny_vlm import ask_about, draw, save_tiny_vlm
from tests.train.conftest import SMALL


@pytest.fixture(scope="module", params=["qwen3_vl", "llava", "text"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return save_tiny(folder) if request.param == "text" else save_tiny_vlm(folder, request.param)


@pytest.mark.parametrize("changes", [[], ["vision.tower=frozen", "tuning=full"]], ids=["lora", "full"])
def test_what_is_counted_is_what_a_policy_holds(folder: Path, changes: list[str]) -> None:
    recipe = load_recipe("opsd-const", [*SMALL, *changes])
    found = architecture(str(folder))
    policy = Policy(resolve_model(str(folder)), recipe)
    engine, parameters = policy.side("base")[0], policy.parameters()
    assert found.parameters == sum(p.numel() for n, p in engine.model.named_parameters() if "lora_" not in n)
    assert trained_parameters(recipe, found) == sum(p.numel() for p in parameters.values())
    updater = Updater(parameters, recipe.distill.optimiser, 1)  # type: ignore[union-attr]
    for master in updater.masters.values():
        master.grad = torch.zeros_like(master)
    updater.optimizer.step()
    held = [updater.masters[name] for name in parameters] + [m.grad for m in updater.masters.values()]
    held += [v for state in updater.optimizer.state.values() for v in state.values() if v.dim()]
    standing = estimate(recipe, found, HARDWARE["a100"]).standing
    assert standing["optimiser"] == sum(value.numel() * value.element_size() for value in held if value is not None)
    copies = 2 if recipe.tuning == "full" else 1
    assert standing["weights"] == copies * found.parameters * 4  # float32, as SMALL asks for


def test_keys_and_values_and_image_tokens_are_those_of_the_engine(folder: Path) -> None:
    from copsd_bench.engine.transformers_engine import TransformersEngine

    engine, found = TransformersEngine(folder), architecture(str(folder))
    batch, _ = prefill(engine.head, [Prompt(ids=tuple(range(1, 21)))] * 3)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in batch.cache.layers)
    assert held == found.kv_bytes(60, width=4)
    if found.pixels:
        prompt = engine.encode(ask_about(draw(1, (64, 96))))
        assert prompt.ids.count(engine.placeholder or 0) == found.image_tokens(64 * 96)
    else:
        assert found.image_tokens(10**6) == 0


@pytest.fixture(scope="module")
def papers() -> dict[str, Architecture]:
    return {name: architecture(f"Qwen/{name}") for name in ("Qwen3-VL-4B-Instruct", "Qwen2.5-VL-7B-Instruct")}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_the_papers_models_have_their_published_sizes(papers: dict[str, Architecture]) -> None:
    """Parameters in the index of their safetensors on the hub."""
    assert {name: found.parameters for name, found in papers.items()} == {
        "Qwen3-VL-4B-Instruct": 4_437_815_808,
        "Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    }
    small, large = papers.values()
    assert (small.pixels, large.pixels) == (32**2, 28**2)
    assert small.kv_bytes(1) == 2 * 36 * 8 * 128 * 2
    assert large.kv_bytes(1) == 2 * 28 * 4 * 128 * 2


def test_a_model_without_a_config_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CopsdError, match=r"Nobody/none is not in the hub cache, and HF_HUB_OFFLINE .* a local folder"):
        architecture("Nobody/none")
    with pytest.raises(CopsdError, match=r"config of .* cannot be read"):
        architecture(str(tmp_path))
    with pytest.raises(CopsdError, match="Unknown hardware 'h20'; did you mean 'h200'"):
        hardware("h20")


def vl(*changes: str) -> Recipe:
    return load_recipe("copsd-vl", list(changes))


def test_a_plan_counts_the_prompts_that_are_there(papers: dict[str, Architecture], tmp_path: Path) -> None:
    model = papers["Qwen3-VL-4B-Instruct"]
    draw(1).save(tmp_path / "a.png")
    rows = [f'{{"prompt": "{"word " * 40}", "kind": "{k}", "image": "a.png"}}' for k in ("safety", "general")]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    of_two = ["distill.prompts_per_step=2", "distill.minibatches=1"]
    there = plan_of(vl(f"prompts=[{tmp_path}/rows.jsonl]", *of_two), model, answer=500)
    assert there.prompts == {"safety": 1, "general": 1}
    assert (there.prompt, there.image, there.answer, there.longest) == (50 + 196, 196, 500, 2048)
    assert there.told > there.prompt
    missing = plan_of(vl(), model, None)
    assert missing.prompts == {}
    assert (missing.steps, missing.answer) == (186, 2048)
    with pytest.raises(CopsdError, match="number of steps is not known"):
        plan_of(vl("distill.steps=null"), model, None)


def test_memory_and_time_grow_as_the_formulas_say(papers: dict[str, Architecture]) -> None:
    model, a100 = papers["Qwen3-VL-4B-Instruct"], hardware("a100")
    one = estimate(vl(), model, a100)
    assert one.peak == sum(one.standing.values()) + one.phases["rollout"]
    assert one.tokens["distill"] == 186 * 128 * 16 * 2048
    short = estimate(vl(), model, a100, answer=512)
    assert short.peak == one.peak  # memory must hold the longest answer
    assert short.seconds["distill: update"] < one.seconds["distill: update"] / 2
    kept = estimate(vl("gradient_checkpointing=false"), model, a100)
    assert kept.phases["distill update"] > 10 * one.phases["distill update"]
    assert kept.seconds["distill: update"] == pytest.approx(one.seconds["distill: update"] * 2 / 3)
    gated = estimate(
        vl("distill.signal.entropy_gate.weight=1", "distill.signal.entropy_gate.threshold=0.8"), model, a100
    )
    # The student, the teacher and the reference of `kl_coef`; the teacher again.
    assert gated.seconds["distill: scoring"] == pytest.approx(one.seconds["distill: scoring"] * 4 / 3, rel=0.01)
    assert "rollout" not in estimate(vl("distill.rollout.engine=vllm"), model, a100).phases
    half = inference(model, a100, items=10, prompt=300, answer=100, rows=128)
    twice = inference(model, a100, items=20, prompt=300, answer=100, rows=128)
    assert twice.memory["KV cache"] == 2 * half.memory["KV cache"] == model.kv_bytes(20 * 400)
    assert twice.seconds["prompts"] == pytest.approx(forward_seconds(model, a100, 6000))
    assert half.total_memory > model.weight_bytes()


def test_the_rows_that_are_said_to_fit_do_and_one_more_does_not(papers: dict[str, Architecture]) -> None:
    """Only rows of a forward pass move: prompts, answers and mini-batches of a step stay those of the recipe."""
    model, a100 = papers["Qwen3-VL-4B-Instruct"], hardware("a100")
    kept = "gradient_checkpointing=false"
    found = estimate(vl(kept), model, a100)
    assert found.peak > a100.memory
    assert found.rows == {"sft": 3, "distill": 6}
    fitting = [f"{stage}.micro_batch_size={rows}" for stage, rows in found.rows.items()]
    assert estimate(vl(kept, *fitting), model, a100).peak <= a100.memory
    for change in ("sft.micro_batch_size=4", "distill.micro_batch_size=7"):
        assert estimate(vl(kept, *fitting, change), model, a100).peak > a100.memory
    whole = estimate(vl("distill.prompts_per_step=4", "distill.rollout.per_prompt=2"), model, a100).rows
    assert whole["distill"] == 2  # four mini-batches of two answers
    assert estimate(vl("tuning=full", "sft=null", "corpus=null", "distill.teacher.adapter=none"), model, a100).rows == {
        "distill": 0
    }


def test_what_no_number_of_rows_makes_room_for_is_said(papers: dict[str, Architecture]) -> None:
    arguments = ["run", "copsd-vl", "--estimate", "--model", "Qwen/Qwen3-VL-4B-Instruct"]
    done = CliRunner().invoke(app, [*arguments, "--set", "distill.rollout.max_tokens=8192"])
    words = " ".join(done.output.split())
    assert "DOES NOT FIT" in words
    assert "No micro_batch_size makes room for rollout: lower distill.rollout.max_tokens." in words


@pytest.mark.parametrize(
    ("name", "changes", "prompts", "steps", "timed"),
    [
        ("safesteer", [], {"safety": 96}, 24, {"distill"}),
        ("cai-rl", [], 600, 38, {"sft", "preference"}),
        ("cai-rl", ["rl_algorithm=online-dpo"], 600, 37, {"sft", "preference"}),
        ("cai-rl", ["rl_algorithm=grpo"], 600, 9, {"sft", "distill"}),
        ("shard-dpo", [], 600, 10, {"preference"}),
    ],
)
def test_only_what_a_recipe_runs_is_counted(
    papers: dict[str, Architecture], name: str, changes: list[str], prompts: dict[str, int] | int, steps: int,
    timed: set[str],
) -> None:  # fmt: skip
    recipe = load_recipe(name, changes)
    found = estimate(recipe, papers["Qwen3-VL-4B-Instruct"], hardware("a100"))
    assert prompts in (found.plan.prompts, sum(found.plan.prompts.values()))
    assert found.plan.steps == steps
    assert {part.partition(":")[0] for part in found.seconds} == timed
    assert set(found.rows) == timed == {phase.split()[0] for phase in found.phases if phase.endswith("update")}
    if recipe.preference is not None and "preference" in timed:
        longer = [*changes, f"preference.max_tokens={2 * recipe.preference.max_tokens}"]
        other = estimate(load_recipe(name, longer), papers["Qwen3-VL-4B-Instruct"], hardware("a100"))
        assert other.phases["preference update"] > 1.5 * found.phases["preference update"]


def test_a_step_of_more_prompts_than_there_are_is_refused_here_too(papers: dict[str, Architecture]) -> None:
    with pytest.raises(CopsdError, match="prompts_per_step is 97, but the corpus has 96 prompts"):
        plan_of(load_recipe("safesteer", ["distill.prompts_per_step=97"]), papers["Qwen3-VL-4B-Instruct"], None)


def test_a_student_that_sft_has_trained_keeps_a_reference_beside_it(papers: dict[str, Architecture]) -> None:
    model, a100 = papers["Qwen3-VL-4B-Instruct"], hardware("a100")
    for change, part in (("tuning=lora", "adapters"), ("tuning=full", "weights")):
        after = estimate(load_recipe("cai-rl", [change]), model, a100).standing[part]
        alone = ["sft=null", "corpus=null", "preference.pairs=ai", change]
        assert after / estimate(load_recipe("cai-rl", alone), model, a100).standing[part] in (2, 1.5)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_estimated(papers: dict[str, Architecture], name: str) -> None:
    model, a100 = papers["Qwen2.5-VL-7B-Instruct"], hardware("a100")
    assert estimate(load_recipe(name), model, a100).peak > model.weight_bytes()


def test_the_command_shows_it_and_starts_nothing(tmp_path: Path) -> None:
    arguments = ["run", "copsd-vl", "--estimate", "--out", str(tmp_path / "run"), "--hardware", "h200"]
    arguments += ["--model", "Qwen/Qwen3-VL-4B-Instruct", "--answer-tokens", "600"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    for words in (
        "4.438 B",
        "33.0 M trained",
        "186 steps",
        "peak",
        "of 141: fits",
        "micro_batch_size 8, at most",
        "nothing was measured",
    ):
        assert words in " ".join(done.output.split())
    assert not (tmp_path / "run").exists()
