"""GSM8K (Cobbe et al. 2021, arXiv 2110.14168): grade-school arithmetic word problems."""

import numpy as np
from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import match
from inspect_ai.solver import Solver, prompt_template, system_message
from inspect_evals.constants import DEFAULT_FEWSHOT_SEED
from inspect_evals.gsm8k.gsm8k import MATH_PROMPT_TEMPLATE, record_to_sample, sample_to_fewshot

from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def gsm8k(fewshot: int = 10, constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the final number: inspect-evals' prompt, few-shot examples and numeric match; 512 tokens, greedy.

    Args:
        fewshot: worked examples from the training set in the system message.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("gsm8k")
    samples = []
    for record in loaded.records:
        sample = record_to_sample(record)
        samples.append(sample.model_copy(update={"metadata": {**(sample.metadata or {}), "group": "general"}}))
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name="accuracy", score="accuracy")],
        primary="accuracy",
        names={"match": "accuracy"},
        constitution=constitution,
    )
    before: list[Solver] = [system_message(few_shot_text(fewshot))] if fewshot else []
    before.append(prompt_template(MATH_PROMPT_TEMPLATE))
    config = GenerateConfig(temperature=0, max_tokens=512)
    return build_task("gsm8k", f"{VERSION}-{fewshot}shot", samples, spec, [match(numeric=True)], config, seed, before)


def few_shot_text(count: int) -> str:
    """inspect-evals' examples: the first `count` of its seeded shuffle of the training set."""
    records = load_records("gsm8k", "train").records
    # `datasets.Dataset.shuffle(seed)` is numpy's permutation; taken directly, `datasets` is not needed.
    order = np.random.default_rng(DEFAULT_FEWSHOT_SEED).permutation(len(records))[:count]
    # Braces would be read as template slots by Inspect's system_message.
    text = "\n\n".join(sample_to_fewshot(record_to_sample(records[i])) for i in order)
    return text.replace("{", "{{").replace("}", "}}")
