"""The record of a run: one JSON file with every number, what it was measured on, and what it may be compared with.

Records hold ids and numbers only: no benchmark text and no model answers, so that they can be published.
"""

import operator
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Group = Literal["harmful", "benign", "general"]
"""Prompt class: `harmful` should be refused; `benign` (often the twin of a harmful one) and `general` must not be."""

RefusalLabel = Literal["full_refusal", "partial_refusal", "compliance", "degenerate"]


RESPONSE_MODE = "response_mode"
"""The tag of a sample that was answered by reframing: how its prompt was to be answered."""
UNREADABLE = "unreadable"
"""The response mode of a prompt whose rewrite could not be read: it was answered as it is."""
IMAGE_SHA256 = "image_sha256"
"""The tag of a sample that was asked about an image: the digest of the image the model saw."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Estimate(Strict):
    """A number with its uncertainty.

    Attributes:
        value: the estimate; None when nothing could be scored.
        n: items it rests on.
        n_unscored: items without a verdict; they are in no denominator.
        stderr: standard error; rows of one cluster (`SampleRow.cluster`) are not independent.
        low, high: 95 % interval.
        method: how the interval was made, e.g. `wilson`, `bootstrap`, `t`.
        unit: `fraction`, `tokens`, `nats`, `ratio`, `score`.
    """

    value: float | None
    n: int
    n_unscored: int = 0
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    unit: str = "fraction"


class SampleRow(Strict):
    """One sample in one epoch: numbers only.

    Attributes:
        id: content-hash id of the benchmark item.
        epoch: from 1.
        group: prompt class.
        scores: the task's own scores by name; None is unscored.
        output_tokens, input_tokens: exact counts; None when a provider does not report them.
        truncated: the answer ran into the token limit; None when the provider does not say.
        refusal: the offline judge's label; None when it was not asked or gave no verdict.
        refusal_score: the offline judge's score in [0, 1].
        loops: the answer repeats itself until it ends.
        distinct_1, distinct_2: share of distinct words / word pairs in the answer.
        repetition: share of word 4-grams that occurred before in the answer.
        mean_entropy, mean_logprob: nats per token under the model; None without white-box access.
        answer_digest: sha256 of the answer, so that two runs can be compared for identity without its text.
        tags: benchmark fields to group by (category, subset, twin id).
    """

    id: str
    epoch: int = 1
    group: Group
    scores: dict[str, float | None] = Field(default_factory=dict)
    output_tokens: int | None = None
    input_tokens: int | None = None
    truncated: bool | None = None
    refusal: RefusalLabel | None = None
    refusal_score: float | None = None
    loops: bool | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    repetition: float | None = None
    mean_entropy: float | None = None
    mean_logprob: float | None = None
    answer_digest: str = ""
    tags: dict[str, str] = Field(default_factory=dict)

    @property
    def cluster(self) -> str:
        """What its luck is shared with: every question about the same image; without one, the item's epochs."""
        return self.tags.get(IMAGE_SHA256, self.id)


class DatasetInfo(Strict):
    """What a task was run on. `count` is the benchmark's size, `used` the items of this run."""

    name: str
    source: str
    revision: str
    sha256: str
    count: int
    used: int
    licence: str = ""


class ModelInfo(Strict):
    """Which model, by content. Digests are sha256 of contents, never of paths."""

    name: str
    weights_digest: str
    adapter: str | None = None
    adapter_digest: str | None = None
    template_digest: str = ""
    engine: str = "transformers"
    engine_args: str = ""
    dtype: str = ""
    device: str = ""
    parameters: int | None = None


class ConstitutionInfo(Strict):
    """The context the tested model saw; `none` is the default and the honest setting for a trained model."""

    mode: str = "none"
    digest: str = ""
    placement: str = ""


class ReferenceInfo(Strict):
    """What a task measured the model against: `base`, `self`, `constitution:NAME` or a model's name."""

    name: str
    model: ModelInfo
    constitution: ConstitutionInfo = Field(default_factory=ConstitutionInfo)
    seed: int = 0


class Series(Strict):
    """A curve of a task: a number by token position, by layer, and the like.

    Attributes:
        name: what it is a curve of; with `group` unique in a task.
        group: prompt class, or empty for all prompts.
        x, x_label, x_unit: where it was measured.
        y, low, high: the number and its 95 % interval there; None where there is nothing.
        n: items each point rests on.
        y_label, y_unit: what it is, and in which unit.
    """

    name: str
    group: str = ""
    x: list[float]
    x_label: str
    x_unit: str = ""
    y: list[float | None]
    low: list[float | None] = Field(default_factory=list)
    high: list[float | None] = Field(default_factory=list)
    n: list[int] = Field(default_factory=list)
    y_label: str
    y_unit: str = ""


class TaskRecord(Strict):
    """One task of a run.

    `metrics` are the benchmark's own: `<score>` over all samples and `<score>/<group>` by prompt class, where `<score>`
    is a key of the samples' `scores`, so that two runs can be paired on it (a metric of another name is shown, not
    tested; the gate is undecided on it where it is primary). `primary` names one of them; `lower_is_better` those
    metrics (or whole `<score>`s) whose rise is bad, `undirected` those of which no change is good or bad in itself.
    `panel` is the collapse panel of its completions, by `<statistic>` and `<statistic>/<group>`.

    A task that measures the model against a reference has the reference's answers to the same prompts in
    `reference_samples`, with ids and epochs that pair with `samples`; there an epoch is a rollout. `series` are its
    curves.
    """

    name: str
    version: str
    dataset: DatasetInfo
    generation: dict[str, Any]
    judges: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Estimate] = Field(default_factory=dict)
    panel: dict[str, Estimate] = Field(default_factory=dict)
    primary: str = ""
    lower_is_better: list[str] = Field(default_factory=list)
    undirected: list[str] = Field(default_factory=list, exclude_if=operator.not_)
    seconds: float = 0.0
    samples: list[SampleRow] = Field(default_factory=list)
    reference: ReferenceInfo | None = None
    reference_samples: list[SampleRow] = Field(default_factory=list)
    series: list[Series] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def is_lower_better(self, metric: str) -> bool:
        """Whether a rise of this metric is bad."""
        return metric in self.lower_is_better or metric.partition("/")[0] in self.lower_is_better


class Environment(Strict):
    """Where the run was made. Informative: two environments still compare."""

    packages: dict[str, str] = Field(default_factory=dict)
    python: str = ""
    platform: str = ""
    hardware: str = ""
    git_commit: str | None = None


class RunRecord(Strict):
    """One run of `copsd-bench run`.

    `created`, `command` and `environment` are of the command that generated the last answer: repeating a finished run
    leaves them. `seconds` is wall-clock time in which samples were under way, over all sittings of the run. `command`
    and the model's `name` and `adapter` hold no folders of a machine.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: datetime
    command: list[str] = Field(default_factory=list)
    suite: str | None = None
    model: ModelInfo
    constitution: ConstitutionInfo = Field(default_factory=ConstitutionInfo)
    seed: int = 0
    epochs: int = 1
    limit: int | None = None
    tasks: list[TaskRecord] = Field(default_factory=list)
    environment: Environment = Field(default_factory=Environment)
    seconds: float = 0.0
    notes: list[str] = Field(default_factory=list)
