"""Ability tasks whose answers a rule compares with the gold answer, in both profiles at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.task import MetricSpec, TaskSpec
from copsd_bench.benchmarks.vision.metrics import letter, text_match, vqa
from copsd_bench.benchmarks.vision.pictures import picture_task
from copsd_bench.benchmarks.vision.profiles import ABILITY_PIXELS, COPSD, OFFICIAL, checked, of
from copsd_bench.sources.images import Images
from copsd_bench.sources.loader import Loaded

ONE_WORD = "\nAnswer with a single word or a short phrase."
MAX_TOKENS = 16
Rule = Callable[[str, Any], float]
RULES: dict[str, dict[str, Rule]] = {
    "vqa": {
        COPSD: lambda answer, gold: vqa.accuracy(answer, gold, official=False),
        OFFICIAL: lambda answer, gold: vqa.accuracy(answer, gold),
    },
    "text": {COPSD: text_match.equal_but_for_case, OFFICIAL: text_match.equal},
    "letter": {COPSD: letter.strict, OFFICIAL: letter.lenient},
}
"""How an answer is compared with the gold one, by rule and profile."""


def matched_task(
    name: str,
    version: str,
    loaded: Loaded,
    samples: Sequence[Sample],
    rule: str,
    profile: str,
    constitution: str,
    seed: int,
    images: Images | None = None,
    by_category: Mapping[str, str] | None = None,
) -> Task:
    """Accuracy of short answers, in both profiles; greedy, 16 tokens.

    Args:
        name, version, loaded, samples, images: see `picture_task`; the metadata holds the gold answer as `gold`.
        rule: a key of `RULES`.
        profile: whose accuracy stands for the task.
        constitution, seed: of the answers.
        by_category: categories that get an accuracy of their own in the chosen profile, and what it is called.
    """
    first = of("accuracy", checked(profile))
    metrics = [MetricSpec(name=first, score=first)]
    metrics += [MetricSpec(name=each, score=each) for each in (of("accuracy", p) for p in RULES[rule]) if each != first]
    metrics += [
        MetricSpec(name=of(f"accuracy_{short}", profile), score=first, tags={"category": category})
        for category, short in (by_category or {}).items()
    ]
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=metrics,
        primary=first,
        constitution=constitution,
        pixels=ABILITY_PIXELS.get(profile),
    )
    config = GenerateConfig(temperature=0, max_tokens=MAX_TOKENS)
    return picture_task(name, version, loaded, samples, spec, [accuracies(rule)], config, seed, images=images)


@scorer(metrics={"*": [mean()]}, name="accuracy")
def accuracies(rule: str) -> Scorer:
    """The answer against the gold one, in every profile.

    Args:
        rule: a key of `RULES`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion.strip()
        values = {
            of("accuracy", p): float(compare(answer, state.metadata["gold"])) for p, compare in RULES[rule].items()
        }
        return Score(value=dict(values), answer=answer)

    return score
