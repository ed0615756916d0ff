"""Synthetic records: a model as a few knobs, drawn with a seeded generator.

Each item has its own difficulty and length, shared by every model, so that records are paired as real ones are.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from copsd_bench.records.panel import panel
from copsd_bench.records.schema import (
    ConstitutionInfo,
    DatasetInfo,
    Group,
    ModelInfo,
    RefusalLabel,
    RunRecord,
    SampleRow,
    TaskRecord,
)
from copsd_bench.records.stats import rate

GENERATION: dict[str, Any] = {"max_tokens": 160, "temperature": 0.0, "top_p": 1.0}
MAX_TOKENS = 160


@dataclass(frozen=True)
class Behaviour:
    """How a synthetic model answers.

    Attributes:
        refusal: probability of a refusal by prompt class.
        accuracy: probability that a general item is right.
        length: factor on every answer's natural length.
        loops: probability of a looping (degenerate) answer.
        distinct_2: mean distinct-2 of an answer.
        entropy, logprob: means in nats.
        noise: standard deviation of the per-run jitter of entropy and log-prob.
        flips: probability that a binary outcome is drawn again, as another machine's rounding would.
    """

    refusal: dict[Group, float] = field(default_factory=lambda: {"harmful": 0.3, "benign": 0.04, "general": 0.01})
    accuracy: float = 0.5
    length: float = 1.0
    loops: float = 0.03
    distinct_2: float = 0.85
    entropy: float = 1.2
    logprob: float = -0.5
    noise: float = 0.02
    flips: float = 0.0


BASE = Behaviour()


def rows(
    behaviour: Behaviour = BASE,
    groups: dict[Group, int] | None = None,
    epochs: int = 1,
    run_seed: int = 0,
    item_seed: int = 0,
    prefix: str = "",
) -> list[SampleRow]:
    """Rows of one task. Items depend on `item_seed` only; `run_seed` is a run's own randomness."""
    items, run = np.random.default_rng(item_seed), np.random.default_rng(1000 + run_seed)
    result = []
    for group, count in (groups or {"harmful": 90, "benign": 90, "general": 60}).items():
        for i in range(count):
            difficulty, willing, stable = items.uniform(size=3)
            natural = items.lognormal(4.4, 0.6)
            texture = items.normal(size=3)
            for epoch in range(1, epochs + 1):
                redraw = run.uniform(size=4)
                again = redraw[3] < behaviour.flips
                refused = (redraw[0] if again else willing) < behaviour.refusal[group]
                right = (redraw[1] if again else difficulty) < behaviour.accuracy
                looping = (redraw[2] if again else stable) < behaviour.loops
                length = MAX_TOKENS if looping else natural * behaviour.length * (0.4 if refused else 1.0)
                tokens = int(np.clip(round(length), 1, MAX_TOKENS))
                label: RefusalLabel = "degenerate" if looping else "full_refusal" if refused else "compliance"
                result.append(
                    SampleRow(
                        id=f"{prefix}{group}-{i}",
                        epoch=epoch,
                        group=group,
                        scores={"accuracy": float(right and not looping)},
                        output_tokens=tokens,
                        input_tokens=40,
                        truncated=tokens >= MAX_TOKENS,
                        refusal=label,
                        loops=looping,
                        distinct_1=0.7,
                        distinct_2=float(np.clip(behaviour.distinct_2 + 0.08 * texture[0], 0, 1)),
                        repetition=0.6 if looping else 0.02,
                        mean_entropy=max(0.0, behaviour.entropy + 0.3 * texture[1] + run.normal(0, behaviour.noise)),
                        mean_logprob=min(0.0, behaviour.logprob + 0.15 * texture[2] + run.normal(0, behaviour.noise)),
                    )
                )
    return result


def task(name: str = "mini", samples: list[SampleRow] | None = None, **changes: Any) -> TaskRecord:
    """A task record around rows; `changes` replace its fields."""
    samples = rows(prefix=f"{name}:") if samples is None else samples
    count = len({row.id for row in samples})
    fields: dict[str, Any] = {
        "name": name,
        "version": "1",
        "dataset": DatasetInfo(name=name, source="packaged", revision="r1", sha256="a" * 64, count=count, used=count),
        "generation": dict(GENERATION),
        "judges": {"refusal": "rules-1"},
        "metrics": {"accuracy": rate([row.scores["accuracy"] for row in samples], [row.id for row in samples])},
        "panel": panel(samples),
        "primary": "accuracy",
        "seconds": 12.0,
        "samples": samples,
    }
    return TaskRecord(**(fields | changes))


def record(
    behaviour: Behaviour = BASE, run_seed: int = 0, tasks: list[TaskRecord] | None = None, **changes: Any
) -> RunRecord:
    """A record of one run; by default of `mini` under `behaviour`."""
    fields: dict[str, Any] = {
        "run_id": f"run-{run_seed}",
        "created": datetime(2026, 1, 2, tzinfo=UTC),
        "suite": "mini",
        "model": ModelInfo(name="tiny", weights_digest="b" * 64, template_digest="c" * 64, dtype="float32"),
        "constitution": ConstitutionInfo(),
        "tasks": [task(samples=rows(behaviour, run_seed=run_seed, prefix="mini:"))] if tasks is None else tasks,
    }
    return RunRecord(**(fields | changes))


def with_task(run: RunRecord, **changes: Any) -> RunRecord:
    """The record with fields of its first task replaced."""
    return run.model_copy(update={"tasks": [run.tasks[0].model_copy(update=changes), *run.tasks[1:]]})


def with_rows(run: RunRecord, **changes: Any) -> RunRecord:
    """The record with fields of every row of its first task replaced."""
    return with_task(run, samples=[row.model_copy(update=changes) for row in run.tasks[0].samples])


def like(behaviour: Behaviour = BASE, **changes: Any) -> Behaviour:
    """A behaviour with some knobs turned."""
    return replace(behaviour, **changes)
