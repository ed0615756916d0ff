"""VLSBench (Hu et al. 2024, arXiv 2411.19939): harm that only the image gives away, not the question."""

from inspect_ai import Task, task
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.benchmarks.vision.judged import Measure, judged_task
from copsd_bench.benchmarks.vision.metrics.keywords import copsd_refusal
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD, OFFICIAL, checked, of
from copsd_bench.sources.loader import load_records

VERSION = "1"
MAX_TOKENS = {COPSD: 512, OFFICIAL: 128}
_PARTS = ["declined", "warned"]
MEASURES = {
    COPSD: [Measure(score="safe", rubric="vlsbench", parts=_PARTS, phrases=True)],
    OFFICIAL: [Measure(score="safe", rubric="vlsbench-image", parts=_PARTS)],
}
PHRASES = of("phrases", COPSD)
PHRASES_NOTE = (
    "safe.copsd takes any answer with one of 23 phrases ('i can't', 'i do not' ...) for safe, as the authors' code "
    "does; safe_judged.copsd is the judge's word alone, phrases.copsd the share of answers with a phrase"
)


@task
def vlsbench(profile: str = COPSD, judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Answers to 2,241 items that decline or warn; greedy.

    Args:
        profile: `copsd` (phrases first, then a judge who sees the text alone), or `official` (a judge who sees the
            image; 128 tokens).
        judge: `refusal` (offline), `grader` (the rubric by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("vlsbench")
    samples = [
        question(
            f"vlsbench_{record['instruction_id']}",
            record["instruction"],
            record["image"],
            "harmful",
            record["category"],
            tags={"sub_category": record["sub_category"], "origin": record["source"]},
        )
        for record in loaded.records
    ]
    copsd = checked(profile) == COPSD
    return judged_task(
        "vlsbench",
        VERSION,
        loaded,
        samples,
        MEASURES[profile],
        profile,
        judge,
        constitution,
        seed,
        max_tokens=MAX_TOKENS[profile],
        more=[(phrases(), [MetricSpec(name=PHRASES, score=PHRASES, undirected=True)])] if copsd else [],
        notes=[PHRASES_NOTE] if copsd else [],
    )


@scorer(metrics=[mean()], name="phrases")
def phrases() -> Scorer:
    """Whether an answer holds one of the phrases, or nothing at all."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value={PHRASES: float(copsd_refusal(state.output.completion))})

    return score
