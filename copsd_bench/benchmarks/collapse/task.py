"""The Inspect task around a measurement on rollouts: prompts, solver, record metadata."""

from collections.abc import Mapping, Sequence

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, chain

from copsd_bench.benchmarks.collapse.prompts import prompt_set
from copsd_bench.benchmarks.collapse.rollouts import RolloutSettings, rollouts
from copsd_bench.benchmarks.task import KEY, TaskSpec, interleave, stratum
from copsd_bench.judges.registry import get_judge

VERSION = "1"


def rollout_task(
    name: str,
    settings: RolloutSettings,
    scorer: Scorer,
    primary: str,
    lower_is_better: Sequence[str] = (),
    judges: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    before: Sequence[Solver] = (),
) -> Task:
    """A task of the suite.

    Args:
        name: the task's, and a key of `SUMMARIES`.
        settings: of its rollouts.
        scorer: returns `rollout_score`.
        primary: the metric that stands for the task.
        lower_is_better: metrics whose rise is bad.
        judges: judge id by the score it gives, beside the panel's.
        notes: sentences a reader of the numbers must know.
        before: solvers before the rollouts (checks).
    """
    samples, dataset = prompt_set(settings.prompts)
    spec = TaskSpec(
        dataset=dataset,
        metrics=[],
        primary=primary,
        judges={"refusal": get_judge("refusal").id, **(judges or {})},
        constitution=settings.constitution,
        notes=list(notes),
        summary=name,
        lower_is_better=list(lower_is_better),
        reference=settings.reference,
        rollouts=settings.rollouts,
    )
    return Task(
        name=name,
        version=VERSION,
        dataset=MemoryDataset(interleave(samples, stratum), name=name),
        solver=chain(*before, rollouts(settings.model_dump(mode="json"))),
        scorer=scorer,
        config=GenerateConfig(max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p),
        metadata={KEY: spec.model_dump(mode="json")},
    )
