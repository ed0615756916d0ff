"""How a benchmark says what it is: its data, its metrics, and the Inspect task made of them."""

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Solver, chain
from pydantic import BaseModel, ConfigDict, Field

from copsd_bench.benchmarks.panel_scorer import panel
from copsd_bench.benchmarks.respond import respond
from copsd_bench.engine.protocol import Capability
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.schema import DatasetInfo, Group

KEY = "copsd"
"""Where a task keeps its `TaskSpec` in Inspect's task metadata."""


class MetricSpec(BaseModel):
    """A number of a benchmark, computed from per-sample scores.

    Attributes:
        name: as it stands in records: `<score>` or `<score>/<group>` if it is that score's mean (then two runs can be
            paired on it), another name otherwise.
        score: the per-sample score it is made of.
        groups: prompt classes it covers; None covers all.
        unit: `fraction` for rates, `score` for means.
        weight: name of a per-sample score to weight by (a ratio of sums: instruction-level accuracy).
        lower_is_better: a rise is bad.
        undirected: neither a rise nor a fall is bad (the share of ties).
        tags: what a sample's tags must be for the number to cover it.
        majority: over a sample's epochs the majority counts, as 1 or 0 (a tie as 0).
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    score: str
    groups: list[Group] | None = None
    unit: Literal["fraction", "score"] = "fraction"
    weight: str | None = None
    lower_is_better: bool = False
    undirected: bool = Field(default=False, exclude_if=operator.not_)
    tags: dict[str, str] = {}
    majority: bool = False


class TaskSpec(BaseModel):
    """What the record of a task needs to know.

    Attributes:
        dataset: what was loaded.
        metrics: the benchmark's numbers.
        primary: name of the one that stands for the benchmark.
        names: this project's name of a score by Inspect's name, where they differ.
        judges: judge id by the score it gives; `build_task` adds the panel's where no score has it.
        constitution: the context mode of the run.
        respond: how the model answered, if not directly (`Arm.id`).
        notes: sentences a reader of the number must know.
        agreement: scores of several judges, whose Krippendorff's alpha stands beside the metrics as `agreement`.
        needs: what an engine must be able to do beside generating (`score`); an API cannot.
        summary: for a task on rollouts of a model and a reference: the name in `SUMMARIES` of the function that makes
            its numbers; `metrics` is empty then, and `lower_is_better` says which of them are bad when they rise.
        pixels: fewest and most an image is scaled to by this project's engines.
        reference, rollouts: what a task measures against, and, on rollouts, answers of each side to a prompt.
    """

    model_config = ConfigDict(extra="forbid")
    dataset: DatasetInfo
    metrics: list[MetricSpec]
    primary: str
    names: dict[str, str] = {}
    judges: dict[str, str] = {}
    constitution: str = "none"
    respond: str = ""
    notes: list[str] = []
    agreement: list[str] = []
    needs: list[Capability] = []
    summary: str = ""
    lower_is_better: list[str] = []
    pixels: tuple[int, int] | None = None
    reference: str = ""
    rollouts: int = 1


def build_task(
    name: str,
    version: str,
    samples: Sequence[Sample],
    spec: TaskSpec,
    scorers: Sequence[Scorer],
    config: GenerateConfig,
    seed: int = 0,
    before: Sequence[Solver] = (),
    solver: Solver | None = None,
    sandbox: tuple[str, str] | None = None,
) -> Task:
    """An Inspect task with the panel beside its scores and its strata interleaved, so that any limit is balanced.

    Args:
        name: the task's name.
        version: changes when numbers no longer compare.
        samples: each with a unique content-hash id and `group` (and `category`, `twin`, or more `tags`) in its
            metadata.
        spec: for the record.
        scorers: the benchmark's own; none if the panel says it all.
        config: token limit and temperature.
        seed: of the samples' random streams.
        before: solvers before the answer (prompt templates, few-shot messages).
        solver: gives the answer instead of `respond`.
        sandbox: Inspect sandbox the scorers need.
    """
    answer = solver or respond(spec.constitution, seed, spec.pixels)
    offline = get_judge("refusal").id
    if offline not in spec.judges.values():
        # The panel's refusals rest on a judge too: records of another version of it do not compare.
        spec = spec.model_copy(update={"judges": {**spec.judges, "panel": offline}})
    dataset = MemoryDataset(interleave(samples, stratum), name=name)
    return Task(
        name=name,
        version=version,
        dataset=dataset,
        solver=chain(*before, answer) if before else answer,
        scorer=[*scorers, panel()],
        config=config,
        sandbox=sandbox,
        metadata={KEY: spec.model_dump(mode="json")},
    )


def interleave(samples: Sequence[Sample], stratum: Callable[[Sample], Hashable]) -> list[Sample]:
    """Round-robin over strata, in each in the given order: the first n samples are balanced for every n."""
    strata: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        strata.setdefault(stratum(sample), []).append(sample)
    # Groups alternate before categories do, so that even a small limit sees every prompt class.
    by_group: dict[Any, list[list[Sample]]] = {}
    for key, members in strata.items():
        by_group.setdefault(key[0] if isinstance(key, tuple) else key, []).append(members)
    columns = [_round_robin(members) for members in by_group.values()]
    return _round_robin(columns)


def _round_robin(lists: Sequence[Sequence[Sample]]) -> list[Sample]:
    longest = max((len(members) for members in lists), default=0)
    return [members[i] for i in range(longest) for members in lists if i < len(members)]


def stratum(sample: Sample) -> tuple[str, str]:
    """Prompt class and category of a sample."""
    metadata = sample.metadata or {}
    return str(metadata.get("group", "general")), str(metadata.get("category", ""))
