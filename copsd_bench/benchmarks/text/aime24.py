"""AIME 2024: thirty competition problems whose answers are integers from 0 to 999."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.solver import prompt_template
from inspect_evals.utils.aime_common import USER_PROMPT_TEMPLATE, aime_scorer

from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def aime24(constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the final integer: inspect-evals' prompt and scorer; 2048 tokens, greedy.

    Args:
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("aime24")
    ids = stable_ids([record["problem"] for record in loaded.records], "aime24")
    samples = [
        Sample(id=i, input=record["problem"], target=str(record["answer"]), metadata={"group": "general"})
        for i, record in zip(ids, loaded.records, strict=True)
    ]
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name="accuracy", score="accuracy")],
        primary="accuracy",
        names={"aime_scorer": "accuracy"},
        constitution=constitution,
    )
    config = GenerateConfig(temperature=0, max_tokens=2048)
    return build_task(
        "aime24", VERSION, samples, spec, [aime_scorer()], config, seed, [prompt_template(USER_PROMPT_TEMPLATE)]
    )
