"""The prompts of the suite `collapse`: a packaged set, or anyone's file in its place."""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from inspect_ai.dataset import Sample

from copsd_bench.benchmarks.items import PackagedItem, load_items, packaged
from copsd_bench.benchmarks.prompts import prompt_samples
from copsd_bench.records.schema import DatasetInfo

FILE = "collapse_prompts.jsonl"
VERSION = "1"


@cache
def load_collapse_prompts() -> tuple[PackagedItem, ...]:
    """The packaged prompts: 16 harmful, their 16 benign twins, 16 general ones (explanations, lists, short facts)."""
    return load_items(FILE, PackagedItem)


def prompt_set(file: str | None) -> tuple[Sequence[Sample], DatasetInfo]:
    """Samples with `group` (and `category`, `twin`) in their metadata, and what they are.

    Args:
        file: csv or jsonl with `prompt` and, if known, `label`; None takes the packaged set.

    Raises:
        CopsdError: as `read_prompts`; also for a prompt that occurs twice, as its rollouts would count twice.
    """
    if file is not None:
        return prompt_samples(Path(file), unique=True)
    items = load_collapse_prompts()
    samples = [
        Sample(
            id=item.id,
            input=item.prompt,
            metadata={"group": item.group, "category": item.category} | ({"twin": item.twin} if item.twin else {}),
        )
        for item in items
    ]
    digest = hashlib.sha256(packaged(FILE).read_bytes()).hexdigest()
    info = DatasetInfo(
        name="collapse_prompts", source="package", revision=VERSION, sha256=digest, count=len(items), used=len(items),
        licence="Apache-2.0",
    )  # fmt: skip
    return samples, info
