"""HarmBench (Mazeika et al. 2024, arXiv 2402.04249): harmful behaviours, alone or with a text they refer to."""

from inspect_ai import Task, task

from copsd_bench.benchmarks.safety import requests, safety_task
from copsd_bench.sources.loader import load_records

VERSION = "1"
SCORED = ("standard", "contextual")
COPYRIGHT = "the 100 copyright behaviours are not scored: the hashes of the protected texts are not here"


@task
def harmbench(judge: str = "refusal", constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of the standard and contextual behaviours; 512 tokens, greedy.

    The paper's attack success rate is `--judge harmbench:MODEL` with its classifier. The 100 copyright behaviours are
    not run: they are scored by overlap with hashes of the protected texts, which are not published with them.

    Args:
        judge: `refusal` (offline), `grader` (rubric `strongreject` by the model role `grader`), or a judge's format.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("harmbench")
    records = [r for r in loaded.records if r["FunctionalCategory"] in SCORED]
    samples = requests(
        "harmbench",
        [behaviour(record) for record in records],
        ["harmful"] * len(records),
        [f"{record['FunctionalCategory']}: {record['SemanticCategory']}" for record in records],
    )
    return safety_task(
        "harmbench", VERSION, loaded, samples, judge, "strongreject", constitution, seed, notes=[COPYRIGHT]
    )


def behaviour(record: dict[str, str]) -> str:
    """The request as HarmBench puts it: a contextual behaviour comes after its text and a rule."""
    context = record["ContextString"]
    return f"{context}\n\n---\n\n{record['Behavior']}" if context else record["Behavior"]
