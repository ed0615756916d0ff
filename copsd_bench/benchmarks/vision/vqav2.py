"""VQAv2 (Goyal et al. 2017, arXiv 1612.00837): short answers to questions about photographs, by ten annotators."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.matched import ONE_WORD, matched_task
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD
from copsd_bench.errors import unknown_name
from copsd_bench.sources.loader import load_records

VERSION = "1"
KINDS = {"yes/no": "yes_no", "number": "number", "other": "other"}
PINS = {"validation": "vqav2", "lite": "vqav2_lite"}


@task
def vqav2(profile: str = COPSD, subset: str = "validation", constitution: str = "none", seed: int = 0) -> Task:
    """Agreement with the annotators on the validation set; greedy, 16 tokens.

    Args:
        profile: whose normalisation the first number follows: `copsd` (lmms-eval) always normalises, `official` not
            where all annotators agree. Which split the paper used is not published.
        subset: `validation` (214,354) or `lite` (500 of them).
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    if subset not in PINS:
        raise unknown_name("subset of VQAv2", subset, PINS)
    loaded = load_records(PINS[subset])
    samples = [
        question(
            f"vqav2_{record['question_id']}",
            record["question"] + ONE_WORD,
            record["image"],
            "general",
            record["answer_type"] or "",
            target=record["multiple_choice_answer"] or "",
            gold=[annotator["answer"] for annotator in record["answers"]],
        )
        for record in loaded.records
    ]
    return matched_task("vqav2", VERSION, loaded, samples, "vqa", profile, constitution, seed, by_category=KINDS)
