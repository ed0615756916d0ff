"""Rollouts on vLLM follow the student: each step its adapter is handed over, and the answers are the new student's."""

from pathlib import Path

import torch

from copsd_bench.engine.protocol import Sampling
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.generators import student_generator
from copsd_train.load_recipe import load_recipe
from copsd_train.policy import Policy

GREEDY = Sampling(max_tokens=24)


def test_each_step_is_answered_by_the_student_of_that_step(smollm2: ResolvedModel, tmp_path: Path) -> None:
    changes = ["dtype=float32", "device=cpu", "lora.rank=4", "distill.rollout.engine=vllm",
               "distill.rollout.engine_args={max_num_seqs: 4}"]  # fmt: skip
    recipe = load_recipe("opsd-const", changes)
    assert recipe.distill is not None
    policy = Policy(smollm2, recipe)
    questions = ("What is the capital of Italy?", "How do I whip cream?", "Name three fruits.", "Why is the sky blue?")
    prompts = [policy.engine.encode([{"role": "user", "content": question}]) for question in questions]
    random = torch.Generator().manual_seed(0)
    seen = []
    with student_generator(recipe.distill.rollout, policy, tmp_path) as generate:
        for _ in range(3):
            ours = generate(prompts, GREEDY, range(4))
            theirs = policy.generate("student", prompts, GREEDY, range(4))
            # Up to one numerical tie: float32 on two engines.
            assert sum(a.ids == b.ids for a, b in zip(ours, theirs, strict=True)) >= 3
            seen.append([completion.ids for completion in ours])
            with torch.no_grad():
                for parameter in policy.parameters().values():
                    parameter.add_(0.02 * torch.randn(parameter.shape, generator=random))
    assert seen[0] != seen[1] != seen[2]
    assert not list(tmp_path.iterdir())
