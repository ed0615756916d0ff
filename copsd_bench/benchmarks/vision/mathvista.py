"""MathVista testmini (Lu et al. 2023, arXiv 2310.02255): mathematics in figures, with choices or a number as answer."""

import math
from typing import Any

from inspect_ai import Task, task
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.benchmarks.vision.graded import NO_VERDICT, graded_task, judges_in, mean_of
from copsd_bench.benchmarks.vision.mathvista_prompts import MAX_TOKENS as EXTRACTION_TOKENS
from copsd_bench.benchmarks.vision.mathvista_prompts import extraction_prompt, query
from copsd_bench.benchmarks.vision.metrics.mathvista import bare_answer, correct
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD, OFFICIAL, checked, of
from copsd_bench.judges.registry import role_of
from copsd_bench.sources.loader import load_records

VERSION = "1"
TASKS = {
    "figure question answering": "figures",
    "geometry problem solving": "geometry",
    "math word problem": "word_problems",
    "visual question answering": "visual",
    "textbook question answering": "textbook",
}
FIELDS = ("category", "context", "grade", "language", "source", "task")
MAX_TOKENS = {COPSD: 16384, OFFICIAL: 1024}


@task
def mathvista(profile: str = COPSD, judge: str = "none", constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy on 1,000 problems: a model extracts the answer, which is brought to the gold answer's form; greedy.

    Args:
        profile: `copsd` (as lmms-eval's `cot` task: the hint after the question; 16384 tokens; which of its three the
            paper used is not published) or `official` (the hint first; 1024 tokens).
        judge: `grader`, the model that extracts; `none` leaves all unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("mathvista")
    hint_last = checked(profile) == COPSD
    samples = [
        question(
            f"mathvista_{record['pid']}",
            query(record, hint_last=hint_last),
            record["image"],
            "general",
            record["metadata"]["task"],
            target=str(record["answer"]),
            problem={key: value for key, value in record.items() if key not in ("image", "metadata")},
            tags={
                **{name: str(record["metadata"][name]) for name in FIELDS if name != "category"},
                **{name: str(record[name]) for name in ("question_type", "answer_type")},
                "skills": ",".join(sorted(record["metadata"]["skills"])),
                "origin": str(record["metadata"]["category"]),
            },
        )
        for record in loaded.records
    ]
    name = of("accuracy", profile)
    metrics = [MetricSpec(name=name, score=name)] + [
        MetricSpec(name=of(f"accuracy_{short}", profile), score=name, tags={"task": long})
        for long, short in TASKS.items()
    ]
    config = GenerateConfig(temperature=0, max_tokens=MAX_TOKENS[profile])
    extracted = extractions(profile, judges_in(judge))
    return graded_task(
        "mathvista", VERSION, loaded, samples, metrics, extracted, profile, judge, constitution, seed, config
    )


@scorer(metrics={"*": [mean()]}, name="mathvista")
def extractions(profile: str, judges: int) -> Scorer:
    """Whether the answer is right, after each extracting model's reading of it; a bare answer needs no reading.

    An extraction that is empty still chooses the nearest of some choices, as for the authors.
    """

    async def score(state: TaskState, target: Target) -> Score:
        problem: dict[str, Any] = state.metadata["problem"]
        answer = state.output.completion.strip()
        bare = bare_answer(answer, problem)
        found, failures = [], []
        for number in range(judges if bare is None else 1):
            text = await _extracted(number, problem, answer) if bare is None else bare
            found.append(text)
            failures.append(float(bare is None and not text))
        right = mean_of([float(correct(text, problem)) for text in found])
        failed = mean_of(failures) if judges else math.nan
        value = {of("accuracy", profile): right, of(NO_VERDICT, profile): failed}
        return Score(value=dict(value), answer=" | ".join(found))

    return score


async def _extracted(number: int, problem: dict[str, Any], answer: str) -> str:
    grader = get_model(role=role_of(number), required=True)
    config = GenerateConfig(temperature=0, max_tokens=EXTRACTION_TOKENS)
    reply = (await grader.generate(extraction_prompt(query(problem), answer), config=config)).completion
    return str(reply).rpartition("</think>")[2].strip()
