"""What the tests of steering share: settings for a tiny model that refuses, its prompts, and one plain pass."""

from collections.abc import Sequence
from pathlib import Path

import torch

from copsd_bench.engine.protocol import Prompt, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.load_recipe import load_recipe
from copsd_train.ranks import Ranks
from copsd_train.run import Run
from copsd_train.stages import execute
from copsd_train.steering_recipe import Steering
from tests.train import naive

SETTINGS = [
    "dtype=float32", "device=cpu", "lora.rank=4", "allow_overlap=true", "monitor.every=0", "checkpoints.every=2",
    "steering.train=20", "steering.validation=6", "steering.depth=1", "steering.positions=2", "steering.openings=[I]",
    "steering.max_kl=0.5",  # so small a model knows little else than what is ablated
    "steering.tokens=6", "steering.voted=4", "steering.trajectories=2", "steering.answer_tokens=10",
    "distill.steps=6", "distill.rollout.per_prompt=2", "distill.rollout.max_tokens=10", "distill.micro_batch_size=8",
    "distill.optimiser.lr=0.01",
]  # fmt: skip


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
