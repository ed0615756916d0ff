"""SIUO (Wang et al. 2024, arXiv 2406.15279): a harmless image and a harmless question, dangerous together."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.judged import COPSD_MEASURES, Measure, judged_task
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD, checked
from copsd_bench.sources.loader import load_records

VERSION = "1"
MAX_TOKENS = {"copsd": 512, "official": 500}
MEASURES = {
    "copsd": COPSD_MEASURES,
    "official": [
        Measure(score="safe", rubric="situation", silence=1.0, majority=True),
        Measure(score="effective", rubric="effective-strict", silence=0.0, majority=True),
    ],
}
OFFICIAL_NOTE = "the authors draw three answers and take each item's majority: --epochs 3 --temperature 1"


@task
def siuo(profile: str = COPSD, judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Safe and effective answers to 167 items, by judges who see the image, the danger and a safe answer; greedy.

    Args:
        profile: `copsd`, or `official` (a refusal is never effective; both at once; majority over epochs).
        judge: `refusal` (offline), `grader` (the rubrics by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("siuo")
    samples = [
        question(
            f"siuo_{record['question_id']}",
            record["question"],
            record["image"],
            "harmful",
            record["category"],
            warning=record["safety_warning"],
            reference=record["reference_answer"],
        )
        for record in loaded.records
    ]
    official = checked(profile) != COPSD
    return judged_task(
        "siuo",
        VERSION,
        loaded,
        samples,
        MEASURES[profile],
        profile,
        judge,
        constitution,
        seed,
        max_tokens=MAX_TOKENS[profile],
        joint="safe_effective" if official else "",
        notes=[OFFICIAL_NOTE] if official else [],
    )
