"""Any task, group or tag of lm-eval as an Inspect task: `--task lm_eval/NAME`."""

import math
from typing import Any

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.bridge.items import Bridged, Response, bridged, cut, verdict
from copsd_bench.benchmarks.bridge.loglikelihood import compare_continuations, results
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.errors import CopsdError
from copsd_bench.records.schema import DatasetInfo
from copsd_bench.sources.loader import content_sha256

VERSION = "1"
PREFIX = "lm_eval/"
RATES = ("acc", "exact_match", "math_verify", "em")
"""Beginnings of lm-eval's metrics whose values are fractions; the others are scores."""


@task
def lm_eval(name: str, fewshot: int | None = None, constitution: str = "none", seed: int = 0) -> Task:
    """lm-eval's own documents, few-shot prompts, filters and metrics.

    Generative tasks are sent as messages, few-shot examples as turns (lm-eval's `--apply_chat_template` with
    `--fewshot_as_multiturn`, its default), to any model. Multiple choice compares log-likelihoods of raw text, as
    lm-eval does by default, and needs a local model.

    Args:
        name: of a task, group or tag of lm-eval.
        fewshot: number of worked examples; None keeps each task's own.
        constitution: context the model sees (`none`, a name, a file); only for generative tasks.
        seed: of the samples' random streams.
    """
    shots = "" if fewshot is None else f"@{fewshot}"
    return bridge_task(f"{PREFIX}{name}{shots}", name, fewshot, constitution, seed)


def bridge_task(
    title: str,
    name: str,
    fewshot: int | None,
    constitution: str,
    seed: int,
    max_tokens: int | None = None,
    primary: str | None = None,
) -> Task:
    """An lm-eval name as a task under a title of ours.

    Args:
        title: the task's name.
        name, fewshot, constitution, seed: see `lm_eval`.
        max_tokens: replaces lm-eval's limit.
        primary: the metric that stands for the task; lm-eval's first if None.

    Raises:
        CopsdError: as `bridged`; a constitution for a task that compares log-likelihoods.
    """
    asked = bridged(name, fewshot)
    generates = asked.kind == "generate"
    if constitution != "none" and not generates:
        raise CopsdError(f"{title} compares log-likelihoods of raw text, where a constitution has no place; drop it.")
    metrics = [
        MetricSpec(name=metric, score=metric, unit=_unit(metric), lower_is_better=not higher)
        for metric, higher in asked.metrics.items()
    ]
    spec = TaskSpec(
        dataset=dataset_info(asked),
        metrics=metrics,
        primary=primary or metrics[0].name,
        constitution=constitution,
        notes=[f"lm-eval's {', '.join(asked.dropped)} is no mean over items and is left out"] if asked.dropped else [],
        needs=[] if generates else ["score"],
    )
    generation = {**asked.generation, **({"max_tokens": max_tokens} if max_tokens else {})}
    return build_task(
        title,
        f"{VERSION}-{_version(asked)}",
        asked.samples(),
        spec,
        [lm_eval_verdict(name, fewshot)],
        GenerateConfig(**generation) if generates else GenerateConfig(),
        seed,
        solver=None if generates else compare_continuations(name, fewshot),
    )


@scorer(metrics={"*": [mean()]}, name="lm_eval")
def lm_eval_verdict(name: str, fewshot: int | None = None) -> Scorer:
    """lm-eval's filters and metrics on the answer, or on the log-likelihoods, of a sample.

    Args:
        name, fewshot: see `bridged`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        asked = bridged(name, fewshot)
        responses: list[Response] | None = results(state)
        if asked.kind == "generate":
            responses = [cut(state.output.completion, asked.generation["stop_seqs"])]
        if responses is None:
            return Score.unscored(reason="no log-likelihoods")
        scores = verdict(asked.items[str(state.sample_id)], responses)
        return Score(value={metric: scores.get(metric, math.nan) for metric in asked.metrics})

    return score


def dataset_info(asked: Bridged) -> DatasetInfo:
    """What the documents came from: pinned files, or the hub with a digest of the documents."""
    pinned = [part for parts in asked.leaves.pinned.values() for part in parts]
    known = len(asked.leaves.pinned) == len({_data(task) for task in asked.leaves.tasks.values()})
    if pinned and known:
        infos = [part.info(0) for part in pinned]
        digest = content_sha256([{"sha256": info.sha256} for info in infos]) if len(infos) > 1 else infos[0].sha256
        source, revision, licence = (
            ", ".join(dict.fromkeys(values))
            for values in ([i.source for i in infos], [i.revision for i in infos], [i.licence for i in infos])
        )
    else:
        digest = content_sha256([{"doc": repr(sorted(item.doc.items()))} for item in asked.items.values()])
        source, revision, licence = "hub", "not pinned", ""
    count = len(asked.items)
    return DatasetInfo(
        name=f"{PREFIX}{asked.name}", source=source, revision=revision, sha256=digest, count=count, used=count,
        licence=licence,
    )  # fmt: skip


def _data(leaf: Any) -> tuple[str, str | None]:
    return leaf.config.dataset_path, leaf.config.dataset_name


def _unit(metric: str) -> Any:
    return "fraction" if metric.startswith(RATES) else "score"


def _version(asked: Bridged) -> str:
    """lm-eval's own versions of the tasks, and their few-shot examples: numbers of others do not compare."""
    versions = dict.fromkeys(str(task.VERSION) for task in asked.leaves.tasks.values())
    shots = dict.fromkeys(str(task.config.num_fewshot) for task in asked.leaves.tasks.values())
    return f"{'+'.join(versions)}-{'+'.join(shots)}shot"
