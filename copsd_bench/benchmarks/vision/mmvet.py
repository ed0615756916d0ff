"""MM-Vet (Yu et al. 2023, arXiv 2308.02490): open questions that need several of six capabilities at once."""

import math

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import REQUEST
from copsd_bench.benchmarks.model_judge import verdict_of
from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.benchmarks.vision.graded import NO_VERDICT, graded_task, judges_in, mean_of
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD, OFFICIAL, checked, of
from copsd_bench.judges.formats import format_named
from copsd_bench.judges.protocol import Unscored, Verdict
from copsd_bench.sources.loader import load_records

VERSION = "1"
CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
"""Recognition, reading text, knowledge, language generation, spatial awareness, mathematics."""
REASON_FIRST = "Reason step by step, then give the best answer to this question:\n\n"
CONFIGS = {
    COPSD: GenerateConfig(temperature=0.2, max_tokens=1024),
    OFFICIAL: GenerateConfig(temperature=0, max_tokens=300),
}
TEMPERATURES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Of a judge whose reply holds no grade, try after try."""


@task
def mmvet(profile: str = COPSD, judge: str = "none", constitution: str = "none", seed: int = 0) -> Task:
    """Mean grade of 218 answers, and by capability (an item counts for each it needs).

    Args:
        profile: `copsd` (lmms-eval: reasoning first, 1024 tokens at temperature 0.2; no grade counts 0) or `official`
            (the bare question, 300 tokens, greedy; no grade is unscored).
        judge: `grader`, the model in that role; `none` leaves all unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("mmvet")
    copsd = checked(profile) == COPSD
    samples = [
        question(
            f"mmvet_{record['question_id']}",
            (REASON_FIRST if copsd else "") + record["question"],
            record["image"],
            "general",
            ",".join(record["capability"]),
            target=record["answer"],
            reference=record["answer"],
            tags=dict.fromkeys(record["capability"], "yes"),
            **{REQUEST: record["question"]},
        )
        for record in loaded.records
    ]
    name = of("score", profile)
    metrics = [MetricSpec(name=name, score=name)] + [
        MetricSpec(name=of(f"score_{each}", profile), score=name, tags={each: "yes"}) for each in CAPABILITIES
    ]
    return graded_task(
        "mmvet",
        VERSION,
        loaded,
        samples,
        metrics,
        grades(profile, judges_in(judge)),
        profile,
        judge,
        constitution,
        seed,
        CONFIGS[profile],
    )


@scorer(metrics={"*": [mean()]}, name="mmvet")
def grades(profile: str, judges: int) -> Scorer:
    """Mean grade of the judges, each asked again, warmer, until it gives one."""
    asked = format_named("mmvet")
    missing = 0.0 if profile == COPSD else math.nan

    async def score(state: TaskState, target: Target) -> Score:
        values, replies = [], []
        for number in range(judges):
            verdict: Verdict | Unscored = Unscored("not asked")
            for temperature in TEMPERATURES:
                verdict, reply = await verdict_of(state, asked, number, temperature)
                if isinstance(verdict, Verdict):
                    break
            values.append(math.nan if isinstance(verdict, Unscored) else verdict.score)
            replies.append(reply)
        failed = mean_of([float(math.isnan(value)) for value in values])
        value = mean_of([missing if math.isnan(value) else value for value in values])
        return Score(
            value={of("score", profile): value, of(NO_VERDICT, profile): failed}, explanation="\n".join(replies)
        )

    return score
