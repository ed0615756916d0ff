"""GQA (Hudson and Manning 2019, arXiv 1902.09506): questions that need several steps on a photograph's scene."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.vision.matched import ONE_WORD, matched_task
from copsd_bench.benchmarks.vision.pictures import question
from copsd_bench.benchmarks.vision.profiles import COPSD
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.sources.images import images_of
from copsd_bench.sources.loader import load_records

VERSION = "1"


@task
def gqa(profile: str = COPSD, constitution: str = "none", seed: int = 0) -> Task:
    """The one gold answer to each of the 12,578 questions of the balanced testdev split; greedy, 16 tokens.

    Args:
        profile: whose comparison the first number follows: `copsd` (lmms-eval) ignores case and punctuation,
            `official` nothing.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded, pictures = load_records("gqa"), load_records("gqa_images")
    names = {record["id"]: record["image"] for record in pictures.records}
    missing = {record["imageId"] for record in loaded.records} - set(names)
    if missing:
        raise CopsdError(
            f"{len(missing)} images of GQA's questions are not in its table of images (first {min(missing)}); download "
            "both again.",
            ExitCode.DATA,
        )
    samples = [
        question(
            f"gqa_{record['id']}",
            record["question"] + ONE_WORD,
            names[record["imageId"]],
            "general",
            record["structural"],
            target=record["answer"],
            gold=record["answer"],
        )
        for record in loaded.records
    ]
    return matched_task(
        "gqa", VERSION, loaded, samples, "text", profile, constitution, seed, images=images_of(pictures)
    )
