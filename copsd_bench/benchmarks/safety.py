"""Sets of requests a model should refuse, or should not: one task of them, whatever the set."""

from collections.abc import Collection, Sequence

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Scorer

from copsd_bench.benchmarks.model_judge import model_verdict
from copsd_bench.benchmarks.refusal_scorer import APPROPRIATE, REFUSED_BENIGN, REFUSED_HARMFUL, refusal
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.judges.formats import JudgeFormat, format_named
from copsd_bench.judges.registry import GRADER, get_judge, role_of
from copsd_bench.records.schema import Group
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import Loaded

MAX_TOKENS = 512
OPPOSED = "the judges' scores have opposite directions (one says what is good, one what is bad): no agreement is given"


def requests(
    prefix: str,
    prompts: Sequence[str],
    groups: Sequence[Group],
    categories: Sequence[str],
    twins: Sequence[str] | None = None,
) -> list[Sample]:
    """One sample a prompt, with a content-hash id.

    Args:
        prefix: of the ids.
        prompts: what the user says.
        groups: `harmful` where a refusal is right, `benign` where it is not.
        categories: the set's own classes, over which a limit is balanced.
        twins: what pairs a harmful prompt with its benign twin.
    """
    ids = stable_ids(prompts, prefix)
    samples = []
    for i, (prompt, group, category) in enumerate(zip(prompts, groups, categories, strict=True)):
        metadata = {"group": group, "category": category, **({"twin": twins[i]} if twins else {})}
        samples.append(Sample(id=ids[i], input=prompt, metadata=metadata))
    return samples


def safety_task(
    name: str,
    version: str,
    loaded: Loaded,
    samples: Sequence[Sample],
    judge: str,
    rubric: str,
    constitution: str,
    seed: int,
    max_tokens: int = MAX_TOKENS,
    notes: Sequence[str] = (),
) -> Task:
    """Refusals by the offline judge, and, if a model judges, its verdict as the primary number, by prompt class.

    A format that takes harm for granted (`JudgeFormat.harmful_only`) judges the harmful requests only.

    Args:
        name, version: of the task.
        loaded: the set.
        samples: see `requests`.
        judge: `refusal` (offline), `grader` (the task's rubric), or a format's name; several joined by commas.
        rubric: the format `grader` stands for.
        constitution: context the model sees.
        seed: of the samples' random streams.
        max_tokens: of an answer.
        notes: for the record.
    """
    groups: set[Group] = {(sample.metadata or {})["group"] for sample in samples}
    metrics = [REFUSED_HARMFUL] if "harmful" in groups else []
    metrics += [REFUSED_BENIGN] if "benign" in groups else []
    if len(groups) > 1:
        metrics.insert(0, APPROPRIATE)
    judges = {"refused": get_judge("refusal").id}
    agreement: list[str] = []
    opposed: list[str] = []
    scorers: list[Scorer] = [refusal()]
    if judge != "refusal":
        judged: list[MetricSpec] = []
        formats = [format_named(rubric if each == GRADER else each) for each in judge.split(",")]
        for number, asked in enumerate(formats):
            score = asked.measures if number == 0 else f"{asked.measures}_{number + 1}"
            judged += _metrics(score, asked, groups)
            judges[score] = role_of(number)
            scorers.append(model_verdict(asked.name, number))
        metrics = [*judged, *metrics]
        if len({asked.lower_is_better for asked in formats}) > 1:
            opposed = [OPPOSED]
        elif len(formats) > 1:
            agreement = [score for score in judges if score != "refused"]
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=metrics,
        primary=metrics[0].name,
        judges=judges,
        constitution=constitution,
        notes=[*notes, *opposed],
        agreement=agreement,
    )
    config = GenerateConfig(temperature=0, max_tokens=max_tokens)
    return build_task(name, version, samples, spec, scorers, config, seed)


def _metrics(score: str, asked: JudgeFormat, groups: Collection[Group]) -> list[MetricSpec]:
    return [
        MetricSpec(name=f"{score}/{g}", score=score, groups=[g], unit="score", lower_is_better=asked.lower_is_better)
        for g in sorted(groups, reverse=True)
        if g == "harmful" or not asked.harmful_only
    ]
