"""One step of distillation: its invariants (COPSD), exact accumulation, and what each recipe trains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from copsd_bench.engine.protocol import Completion, Intervention, Sampling
from copsd_bench.errors import CopsdError
from copsd_bench.judges.registry import get_judge
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_train import distill, losses
from copsd_train.corpora.schema import PromptRow
from copsd_train.distill_recipe import Distill
from copsd_train.load_recipe import load_recipe, recipe_names
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.rollouts import Generate, assess, batch_of, by_text, describe, judge_outcomes, roll_out, score
from copsd_train.teacher import ContextPolicy, Row, build_rows
from tests.engine.tiny import save_tiny
from tests.train.conftest import PROMPTS, REFERENCE, SMALL

ROWS = [PromptRow(**row, reference=REFERENCE, source=row["kind"]) for row in PROMPTS]
METHODS = [name for name in recipe_names() if load_recipe(name).distill is not None]


@dataclass
class Setting:
    policy: Policy
    rows: list[Row]
    updater: Updater
    config: Distill
    generate: Generate

    def step(self, rows: Sequence[Row] | None = None) -> tuple[dict[str, float], torch.Tensor]:
        metrics, _ = distill.step(rows or self.rows, self.policy, self.updater, self.generate, self.config, seed=1)
        return metrics, torch.cat([value.flatten() for value in self.updater.masters.values()])


def setting(base: ResolvedModel, name: str, *changes: str, teacher: Path | None = None) -> Setting:
    found = load_recipe(name, [*SMALL, *changes])
    config = found.distill
    assert config is not None
    adapters = {"teacher": teacher} if teacher is not None else {}
    policy = Policy(base, found, adapters=adapters, ema=config.teacher.adapter == "ema")
    if config.uses_steering:
        size = policy.engine.hidden_size
        policy.steer("base", Intervention("add", 1, torch.linspace(-1, 2, size)), [7, 77, 177])
    rows = build_rows(ROWS, ContextPolicy(config.teacher, ROWS, 0), policy.engine, config.rollout.max_tokens)
    average = (policy.parameters("ema"), config.teacher.decay) if config.teacher.decay else None
    updater = Updater(policy.parameters(), config.optimiser, 100, average)

    def generate(prompts, sampling, seeds):  # type: ignore[no-untyped-def]
        return policy.generate("student", prompts, sampling, seeds)

    return Setting(policy, rows, updater, config, generate)


@pytest.fixture(scope="module")
def teacher(tiny: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter in the place of a Cross-SFT teacher."""
    policy = Policy(tiny, load_recipe("opsd-const", SMALL), trained="teacher")
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    folder = tmp_path_factory.mktemp("adapters") / "teacher"
    policy.save(folder)
    return folder


def test_without_a_context_a_teacher_equal_to_the_student_rewards_nothing(real_policy: Policy) -> None:
    config = load_recipe("opsd-const", SMALL).distill
    assert config is not None
    rows = build_rows(ROWS[:2], ContextPolicy(config.teacher, ROWS, 0), real_policy.engine, 6)
    same = [replace(row, teacher=row.student, context=None) for row in rows[:1]] + rows[1:]
    batch = roll_out(same, lambda p, s, seeds: real_policy.generate("student", p, s, seeds), config.rollout, seed=0)
    score(batch, real_policy, config)
    assess(batch, config)
    assert torch.equal(batch.rewards[:2], torch.zeros_like(batch.rewards[:2]))
    assert torch.equal(batch.advantages[:2], torch.zeros_like(batch.advantages[:2]))
    assert (batch.rewards[2:][batch.mask[2:]] != 0).all()
    metrics = describe(batch, config)
    assert metrics["noise_floor"] < 1e-4
    assert metrics["gap_without_context"] == 0 < metrics["gap_with_context"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_the_student_alone(tiny: ResolvedModel, teacher: Path, name: str) -> None:
    taught = load_recipe(name).distill
    assert taught is not None
    this = setting(tiny, name, teacher=teacher if taught.teacher.adapter == "teacher" else None)
    if taught.outcome is not None:  # the offline judge finds nothing to tell apart in random tokens
        this.generate = varied(this.policy)
    before = {n: p.clone() for n, p in this.policy.engine.model.named_parameters()}
    metrics, _ = this.step()
    changed = {n for n, p in this.policy.engine.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert changed <= {n for n in before if ".student." in n}
    assert all(value == value for value in metrics.values()), metrics
    assert metrics["grad_norm"] > 0


def varied(policy: Policy) -> Generate:
    """Every other answer is a refusal."""
    refusal = tuple(policy.engine.tokenizer("I can't help with that.")["input_ids"])

    def generate(prompts, sampling, seeds):  # type: ignore[no-untyped-def]
        drawn = policy.generate("student", prompts, sampling, seeds)
        said = {"ids": refusal, "text": "I can't help with that.", "logprobs": (0.0,) * len(refusal)}
        return [replace(c, **said) if i % 2 else c for i, c in enumerate(drawn)]

    return generate


@pytest.mark.parametrize("name", ["opsd-const", "opsd-full", "opsd-topk", "eopd", "safesteer"])
def test_the_update_does_not_depend_on_the_size_of_micro_batches(tiny: ResolvedModel, name: str) -> None:
    results = [setting(tiny, name, f"distill.micro_batch_size={size}").step() for size in (1, 3, 8)]
    for metrics, weights in results[1:]:
        assert torch.allclose(weights, results[0][1], atol=1e-6)
        assert metrics["loss"] == pytest.approx(results[0][0]["loss"], abs=1e-6)


def test_gradient_checkpointing_changes_nothing(tiny: ResolvedModel) -> None:
    results = [setting(tiny, "opsd-const", f"gradient_checkpointing={flag}").step()[1] for flag in ("true", "false")]
    assert torch.equal(*results)


def test_only_later_minibatches_can_be_clipped(tiny: ResolvedModel) -> None:
    """The first one is on-policy: its ratio is 1 by definition; the second sees a student that has moved."""
    changes = ("distill.minibatches=2", "distill.optimiser.lr=0.3", "distill.kl_coef=0")
    single, double = setting(tiny, "opsd-const", *changes[1:]), setting(tiny, "opsd-const", *changes)
    one, two = (this.step(this.rows[:2])[0] for this in (single, double))
    assert one["clipped"] == 0
    assert two["clipped"] > 0
    assert two["drift"] > two["path_noise"]
    assert two["path_noise"] < 1e-4


def test_a_student_learns_from_the_full_divergence(tiny: ResolvedModel) -> None:
    this = setting(
        tiny, "opsd-full", "distill.signal.beta=1", "distill.optimiser.lr=0.01", "distill.rollout.per_prompt=4"
    )
    told = [row for row in this.rows if row.context is not None]
    losses_seen = [this.step(told)[0]["divergence"] for _ in range(12)]
    assert losses_seen[-1] < 0.6 * losses_seen[0]


def test_a_loss_that_is_not_finite_stops_before_anything_changes(
    tiny: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = setting(tiny, "opsd-const")
    before = [value.clone() for value in this.updater.masters.values()]
    real = losses.policy_loss
    monkeypatch.setattr(losses, "policy_loss", lambda *a: (real(*a)[0] * float("nan"), real(*a)[1]))
    with pytest.raises(CopsdError, match=r"^Step 1: the loss is not finite"):
        next(distill.loop(this.rows, this.policy, this.updater, this.generate, this.config, seed=0, start=0))
    assert all(torch.equal(a, b) for a, b in zip(before, this.updater.masters.values(), strict=True))


@pytest.mark.parametrize("adapter", ["none", "teacher", "ema"])
def test_a_context_that_does_not_reach_the_teacher_stops_before_anything_changes(
    tiny: ResolvedModel, teacher: Path, adapter: str
) -> None:
    """Also where the teacher's own weights make its log-probabilities differ from the student's."""
    changes = ("distill.teacher.adapter=ema", "distill.teacher.decay=0.9") if adapter == "ema" else ()
    this = setting(
        tiny, "copsd" if adapter == "teacher" else "opsd-const", *changes,
        teacher=teacher if adapter == "teacher" else None,
    )  # fmt: skip
    before = [value.clone() for value in this.updater.masters.values()]
    deaf = [replace(row, teacher=row.student) for row in this.rows]
    with pytest.raises(CopsdError, match=r"^Step 1: .* the context does not reach the model"):
        next(distill.loop(deaf, this.policy, this.updater, this.generate, this.config, seed=0, start=0))
    assert all(torch.equal(a, b) for a, b in zip(before, this.updater.masters.values(), strict=True))


def test_rows_of_named_sources_get_the_outcome_instead_of_the_teacher(tiny: ResolvedModel) -> None:
    this = setting(tiny, "opsd-const", "distill.outcome={judge: refusal, inverted: [general], sources: [general]}")
    batch = roll_out(this.rows, varied(this.policy), this.config.rollout, seed=0)
    score(batch, this.policy, this.config)
    assert this.config.outcome is not None
    judge_outcomes(batch, this.config.outcome, by_text(get_judge("refusal")))
    assess(batch, this.config)
    general = torch.tensor([row.source.kind == "general" for row in batch.rows])
    assert batch.outcomes[~general].isnan().all()
    answered, refused = batch.advantages[general]
    assert float(answered[0]) == pytest.approx(-float(refused[0]), abs=1e-6)
    assert answered[0] > 0  # a general question should be answered
    plain = replace(batch)
    assess(plain, this.config.model_copy(update={"outcome": None}))
    assert torch.equal(plain.advantages[~general], batch.advantages[~general])


def test_rows_that_a_judge_rewards_are_not_gated_to_the_teacher_either(tiny: ResolvedModel) -> None:
    sources = "distill.outcome={judge: refusal, sources: [general, safety, over_refusal]}"
    steps = [
        setting(tiny, "opsd-const", sources, f"distill.signal.entropy_gate={gate}").step()
        for gate in ("null", "{threshold: 0, weight: 5}")
    ]
    assert torch.equal(steps[0][1], steps[1][1])
    assert steps[1][0]["gate_open"] == 0


@pytest.mark.parametrize("checkpointing", [True, False])
def test_nothing_is_dropped_in_the_base_while_an_adapter_is_trained(tmp_path: Path, checkpointing: bool) -> None:
    """Attention drops by a function that asks whether its module trains; there is no dropout module to turn off."""
    folder = save_tiny(tmp_path / "dropping", max_position_embeddings=4096, attention_dropout=0.5)
    this = setting(resolve_model(str(folder)), "opsd-const", f"gradient_checkpointing={checkpointing}")
    metrics, _ = this.step()
    assert metrics["path_noise"] < 1e-4
    model = this.policy.engine.model
    assert {layer.attention_dropout for layer in model.modules() if hasattr(layer, "attention_dropout")} == {0.5}


def test_a_refusal_pays_on_prompts_to_refuse_alone_and_an_empty_answer_nowhere(tiny: ResolvedModel) -> None:
    """Of safety prompts, many are to be answered with a warning or plainly."""
    this = setting(tiny, "grpo", "distill.rollout.per_prompt=3")
    routes = {"s1": "refuse", "s2": "help"}
    rows = [
        replace(row, source=row.source.model_copy(update={"route": routes.get(row.source.id)})) for row in this.rows
    ]
    texts = ["I can't help with that.", "Sure. First, look it up in the register of residents.", ""]
    completions = [Completion((1,), text, (0.0,), (), "stop") for _ in rows for text in texts]
    batch = batch_of([row for row in rows for _ in texts], completions, [0] * 12, torch.arange(4).repeat_interleave(3))
    assert this.config.outcome is not None
    judge_outcomes(batch, this.config.outcome, by_text(get_judge("refusal")))
    refused, helped, empty = batch.outcomes.reshape(4, 3).T
    assert (refused > helped).tolist() == [row.source.id == "s1" for row in rows]
    assert (empty == 0).all()


def test_clipping_each_vocabulary_entry_lowers_the_divergence_of_the_recipe(tiny: ResolvedModel) -> None:
    plain, clipped = (setting(tiny, "opsd-full", f"distill.signal.clip={clip}").step()[0] for clip in ("null", "1e-3"))
    assert 0 < clipped["divergence"] < plain["divergence"]


def test_the_average_follows_the_student_slowly_and_teaches(tiny: ResolvedModel) -> None:
    changes = ("distill.teacher.adapter=ema", "distill.teacher.decay=0.9")
    this = setting(tiny, "opsd-full", *changes)
    start = {name: value.clone() for name, value in this.updater.averages.items()}
    this.step()
    for name, value in this.policy.parameters("ema").items():
        assert torch.allclose(value, 0.9 * start[name] + 0.1 * this.updater.masters[name], atol=1e-7)


def test_each_epoch_asks_every_prompt_once_in_a_new_order() -> None:
    steps = [distill.prompts_of_step(i, rows=11, per_step=3, seed=0) for i in range(6)]
    first, second = ([i for step in epoch for i in step] for epoch in (steps[:3], steps[3:]))
    assert len(set(first)) == len(set(second)) == 9
    assert first != second
    assert steps == [distill.prompts_of_step(i, 11, 3, 0) for i in range(6)]


def test_more_prompts_a_step_than_the_corpus_has_are_refused() -> None:
    config = load_recipe("opsd-const").distill
    assert config is not None
    with pytest.raises(CopsdError, match="prompts_per_step is 128, but the corpus has 4 prompts"):
        distill.total_steps(config, rows=4)


def test_unscored_completions_have_no_signal(tiny: ResolvedModel) -> None:
    this = setting(tiny, "opsd-const")
    completions = this.generate([row.student for row in this.rows], Sampling(3), [0] * 4)
    batch = batch_of(this.rows, completions, [0] * 4, torch.arange(4))
    assert batch.mask.sum() == sum(len(c.ids) for c in completions)
    assert batch.outcomes.isnan().all()
