"""IFEval (Zhou et al. 2023, arXiv 2311.07911): instructions whose fulfilment a program can check."""

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.lm_eval_checkers import ifeval_results
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.sources.loader import load_records

VERSION = "1"
METRICS = [
    MetricSpec(name="prompt_strict", score="prompt_strict"),
    MetricSpec(name="instruction_strict", score="instruction_share_strict", weight="instructions"),
    MetricSpec(name="prompt_loose", score="prompt_loose"),
    MetricSpec(name="instruction_loose", score="instruction_share_loose", weight="instructions"),
]


@task
def ifeval(constitution: str = "none", seed: int = 0) -> Task:
    """Prompt- and instruction-level accuracy, strict and loose, by lm-eval's vendored checkers; 1280 tokens, greedy.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("ifeval")
    samples = [
        Sample(id=f"ifeval_{record['key']}", input=record["prompt"], metadata={**record, "group": "general"})
        for record in loaded.records
    ]
    spec = TaskSpec(
        dataset=loaded.info(len(samples)), metrics=METRICS, primary="prompt_strict", constitution=constitution
    )
    config = GenerateConfig(temperature=0, max_tokens=1280)
    return build_task("ifeval", VERSION, samples, spec, [instructions_followed()], config, seed)


@scorer(metrics={"*": [mean()]}, name="ifeval")
def instructions_followed() -> Scorer:
    """lm-eval's verdict on each instruction; instruction-level scores are shares of this prompt's instructions."""
    check = ifeval_results()

    async def score(state: TaskState, target: Target) -> Score:
        results: dict[str, Any] = check(dict(state.metadata), state.output.completion)
        strict, loose = results["inst_level_strict_acc"], results["inst_level_loose_acc"]
        return Score(
            value={
                "prompt_strict": float(results["prompt_level_strict_acc"]),
                "prompt_loose": float(results["prompt_level_loose_acc"]),
                "instruction_share_strict": sum(strict) / len(strict),
                "instruction_share_loose": sum(loose) / len(loose),
                "instructions": len(strict),
            },
            explanation=" ".join(state.metadata["instruction_id_list"]),
        )

    return score
