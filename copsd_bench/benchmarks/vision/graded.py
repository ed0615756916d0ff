"""Ability tasks that a judging model grades, or helps to."""

import math
from collections.abc import Sequence

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer

from copsd_bench.benchmarks.task import MetricSpec, TaskSpec
from copsd_bench.benchmarks.vision.pictures import picture_task
from copsd_bench.benchmarks.vision.profiles import ABILITY_PIXELS, of
from copsd_bench.errors import CopsdError
from copsd_bench.judges.registry import GRADER, role_of
from copsd_bench.sources.loader import Loaded

NONE = "none"
NO_JUDGE = "unscored: no judge; give --judge MODEL"
NO_VERDICT = "no_verdict"


def judges_in(judge: str) -> int:
    """Number of judging models: `grader`, several joined by commas, or `none`.

    Raises:
        CopsdError: a judge with a format, which these tasks do not take.
    """
    names = [] if judge == NONE else judge.split(",")
    if any(name != GRADER for name in names):
        raise CopsdError(f"This task is graded by its own rule: --judge MODEL, without the format {judge!r}.")
    return len(names)


def graded_task(
    name: str,
    version: str,
    loaded: Loaded,
    samples: Sequence[Sample],
    metrics: Sequence[MetricSpec],
    scorer: Scorer,
    profile: str,
    judge: str,
    constitution: str,
    seed: int,
    config: GenerateConfig,
    notes: Sequence[str] = (),
) -> Task:
    """A graded task; without a judge its numbers are unscored.

    Args:
        name, version, loaded, samples: see `picture_task`.
        metrics: the first is the primary number.
        scorer: gives their scores.
        profile: of the scores.
        judge: see `judges_in`.
        constitution, seed, config: of the answers.
        notes: for the record.
    """
    count = judges_in(judge)
    failures = of(NO_VERDICT, profile)
    found = [*metrics, *([MetricSpec(name=failures, score=failures, lower_is_better=True)] if count else [])]
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=found,
        primary=metrics[0].name,
        judges={f"judge_{number + 1}": role_of(number) for number in range(count)} or {"judge": NONE},
        constitution=constitution,
        pixels=ABILITY_PIXELS.get(profile),
        notes=[*notes, *([] if count else [NO_JUDGE])],
    )
    return picture_task(name, version, loaded, samples, spec, [scorer] if count else [], config, seed)


def mean_of(values: Sequence[float]) -> float:
    """Mean of what is scored; NaN if nothing is."""
    scored = [value for value in values if not math.isnan(value)]
    return sum(scored) / len(scored) if scored else math.nan
