"""The real model's training trajectory in float32 against a committed one: a change of any number here is a decision.

`python -m tests.train.test_trajectory` writes the file anew. Rollouts are part of it and are replayed, as sampling on
another machine may draw another token where rounding decides. TOLERANCE is for the rounding of the rest.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.engine.protocol import Completion
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_train import distill, sft
from copsd_train.corpora.schema import PromptRow, SftRow
from copsd_train.load_recipe import load_recipe
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.rollouts import Generate
from copsd_train.teacher import ContextPolicy, build_rows
from tests.train.conftest import PROMPTS, REFERENCE, SMALL

FILE = Path(__file__).parent / "trajectory.json"
TOLERANCE = 1e-3
"""Absolute, in each number's own unit (nats, tokens, fractions), or relative where that is more."""
STEPS = 2
SETTINGS = [
    # One mini-batch: in one of prompts without a context the gradient is rounding, and AdamW makes a full step of it.
    *SMALL, f"distill.steps={STEPS}", "distill.minibatches=1", "gradient_checkpointing=false",
    # A short context: this is about the numbers of training, and a constitution costs minutes in float32.
    "distill.teacher.context=instruction", "distill.teacher.instructions={safety: 'Decline kindly. {user_query}'}",
]  # fmt: skip


def distilled(base: ResolvedModel, name: str, recording: list[Any] | None) -> dict[str, Any]:
    """Metrics and rollouts of a few steps; the rollouts are taken from a recording if there is one."""
    recipe = load_recipe(name, SETTINGS)
    config = recipe.distill
    assert config is not None
    policy = Policy(base, recipe)
    prompts = [PromptRow.model_validate(row) for row in PROMPTS]
    rows = build_rows(prompts, ContextPolicy(config.teacher, prompts, 0), policy.engine, 8)
    updater = Updater(policy.parameters(), config.optimiser, STEPS * config.minibatches)
    steps = iter(recording or [])

    def replayed(asked: Any, sampling: Any, seeds: Any) -> list[Completion]:
        return [Completion(**{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()}) for c in next(steps)]

    def sampled(asked: Any, sampling: Any, seeds: Any) -> list[Completion]:
        return policy.generate("student", asked, sampling, seeds)

    generate: Generate = sampled if recording is None else replayed
    found = list(distill.loop(rows, policy, updater, generate, config, seed=0, start=0))
    return {
        "metrics": [_timeless(metrics) for _, metrics, _ in found],
        "rollouts": [[vars(completion) for completion in batch.completions] for _, _, batch in found],
    }


def fine_tuned(base: ResolvedModel) -> dict[str, Any]:
    """Metrics of a few steps of supervised fine-tuning."""
    recipe = load_recipe("sft", [c for c in SETTINGS if not c.startswith("distill")] + ["sft.batch_size=2"])
    config = recipe.sft
    assert config is not None
    rows = [
        SftRow(id=p["id"], prompt=p["prompt"], response=REFERENCE, kind=p["kind"])  # type: ignore[arg-type]
        for p in PROMPTS
    ]
    policy = Policy(base, recipe)
    examples = sft.build_examples(rows, policy.engine, config)
    updater = Updater(policy.parameters(), config.optimiser, 4)
    steps = sft.loop(examples, policy, updater, config, seed=0, start=0)
    return {"metrics": [_timeless(metrics) for _, metrics in steps]}


def _timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in sorted(metrics.items()) if not name.startswith("time/")}


@pytest.mark.parametrize("name", ["opsd-const", "opsd-full", "sft"])
def test_the_trajectory_is_the_committed_one(smollm2: ResolvedModel, name: str) -> None:
    expected = json.loads(FILE.read_text())[name]
    got = fine_tuned(smollm2) if name == "sft" else distilled(smollm2, name, expected["rollouts"])
    for number, (mine, theirs) in enumerate(zip(got["metrics"], expected["metrics"], strict=True), start=1):
        assert set(mine) == set(theirs)
        for key, value in theirs.items():
            assert mine[key] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), f"step {number}, {key}"


if __name__ == "__main__":
    model = resolve_model("smollm2-135m")
    trajectories = {name: distilled(model, name, None) for name in ("opsd-const", "opsd-full")}
    FILE.write_text(json.dumps({**trajectories, "sft": fine_tuned(model)}) + "\n")
