"""ScienceQA with images (Lu et al. 2022, arXiv 2209.09513): school science questions with choices."""

from typing import Any

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.matched import matched_task
from copsd_bench.benchmarks.vision.metrics.letter import LETTERS
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"
LETTER = "\nAnswer with the letter of the right choice alone."


@task
def scienceqa(profile: str = COPSD, constitution: str = "none", seed: int = 0) -> Task:
    """Accuracy of the answered letter on the 2,017 test questions with an image; greedy, 16 tokens.

    Args:
        profile: whose reading of answers the first number follows: `copsd` (lmms-eval) takes the letter alone or before
            a period, `official` (LLaVA's script) `The answer is X` too.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("scienceqa")
    asked = [worded(record) for record in loaded.records]
    samples = [
        question(
            identifier,
            text,
            record["image"],
            "general",
            record["subject"],
            target=LETTERS[record["answer"]],
            gold=LETTERS[record["answer"]],
            tags={name: str(record[name]) for name in ("topic", "grade")},
        )
        for identifier, text, record in zip(stable_ids(asked, "scienceqa"), asked, loaded.records, strict=True)
    ]
    return matched_task("scienceqa", VERSION, loaded, samples, "letter", profile, constitution, seed)


def worded(record: dict[str, Any]) -> str:
    """Context, if there is one, the question, the lettered choices, and how to answer."""
    context = [f"Context: {record['hint']}"] if record["hint"] else []
    choices = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, record["choices"], strict=False)]
    return "\n".join([*context, record["question"], *choices]) + LETTER
