"""LLaVA-Wilder, small (Li et al. 2024, LLaVA-NeXT): questions of real users about images, rated against a reference."""

import math

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.model_judge import verdict_of
from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.benchmarks.vision.graded import NO_VERDICT, graded_task, judges_in, mean_of
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD, checked, of
from copsd_bench.judges.formats import format_named
from copsd_bench.judges.protocol import Unscored
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"
RELATIVE, REFERENCE = "relative", "reference_rating"
FAILED = (1.0, -1.0)
"""lmms-eval counts a reply without ratings as -1 for both: as a quotient, and as the weight of its sample."""


@task
def llava_wilder(profile: str = COPSD, judge: str = "none", constitution: str = "none", seed: int = 0) -> Task:
    """Sum of the model's ratings over the reference's, on 128 questions; greedy, 4096 tokens.

    Args:
        profile: `copsd` (as lmms-eval: a reply without ratings adds -1 to both sums) or `official` (it is left out).
        judge: `grader`, the model in that role; `none` leaves all unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("llava_wilder")
    ids = stable_ids([record["Question"] for record in loaded.records], "llava_wilder")
    samples = [
        question(identifier, record["Question"], record["image"], "general", reference=record["Answer"])
        for identifier, record in zip(ids, loaded.records, strict=True)
    ]
    ratio = MetricSpec(name=of("ratio", checked(profile)), score=of(RELATIVE, profile), weight=of(REFERENCE, profile))
    return graded_task(
        "llava_wilder",
        VERSION,
        loaded,
        samples,
        [ratio],
        ratings(profile, judges_in(judge)),
        profile,
        judge,
        constitution,
        seed,
        GenerateConfig(temperature=0, max_tokens=4096),
    )


@scorer(metrics={"*": [mean()]}, name="llava_wilder")
def ratings(profile: str, judges: int) -> Scorer:
    """The model's rating as a share of the reference's, and the reference's, which weights it; over several judges."""
    asked = format_named("llava-wilder")

    async def score(state: TaskState, target: Target) -> Score:
        pairs: list[tuple[float, float]] = []
        replies = []
        for number in range(judges):
            verdict, reply = await verdict_of(state, asked, number)
            replies.append(reply)
            if not isinstance(verdict, Unscored):
                pairs.append((verdict.score, verdict.values[REFERENCE]))
            elif profile == COPSD:
                pairs.append(FAILED)
        failed = mean_of([float(pair == FAILED) for pair in pairs] + [1.0] * (judges - len(pairs)))
        weight = mean_of([reference for _, reference in pairs])
        rated = mean_of([relative * reference for relative, reference in pairs])
        relative = rated / weight if weight else math.nan
        value = {of(RELATIVE, profile): relative, of(REFERENCE, profile): weight, of(NO_VERDICT, profile): failed}
        return Score(value=dict(value), explanation="\n---\n".join(replies))

    return score
