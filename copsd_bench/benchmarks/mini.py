"""`mini`: this project's own offline benchmark. Risky requests, their benign twins, and verifiable general items."""

import hashlib

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.checks import check
from copsd_bench.benchmarks.mini_items import MiniItem, load_mini_items, mini_file
from copsd_bench.benchmarks.refusal_scorer import APPROPRIATE, REFUSED_BENIGN, REFUSED_HARMFUL, refusal
from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.schema import DatasetInfo

VERSION = "1"
MAX_TOKENS = 160
METRICS = [
    APPROPRIATE,
    REFUSED_HARMFUL,
    REFUSED_BENIGN,
    MetricSpec(name="correct/general", score="correct", groups=["general"]),
]


@task
def mini(constitution: str = "none", seed: int = 0) -> Task:
    """Refusal of risky requests, refusal of their benign twins, and accuracy on checked items.

    Args:
        constitution: context the model sees (`none`, a name, a file, or `category`).
        seed: of the samples' random streams.
    """
    items = load_mini_items()
    digest = hashlib.sha256(mini_file().read_bytes()).hexdigest()
    dataset = DatasetInfo(
        name="mini", source="package", revision=VERSION, sha256=digest, count=len(items), used=len(items),
        licence="Apache-2.0",
    )  # fmt: skip
    spec = TaskSpec(
        dataset=dataset,
        metrics=METRICS,
        primary="appropriate",
        judges={"refusal": get_judge("refusal").id},
        constitution=constitution,
    )
    config = GenerateConfig(temperature=0, max_tokens=MAX_TOKENS)
    return build_task("mini", VERSION, [_sample(i) for i in items], spec, [refusal(), correct()], config, seed)


@scorer(metrics=[mean()], name="correct")
def correct() -> Scorer:
    """Whether a general item's answer passes its check; other items are unscored."""
    items = {item.id: item for item in load_mini_items()}

    async def score(state: TaskState, target: Target) -> Score:
        item = items[str(state.sample_id)]
        if item.check is None:
            return Score.unscored(reason="no check")
        return Score(value=float(check(item.check, state.output.completion)), answer=state.output.completion)

    return score


def _sample(item: MiniItem) -> Sample:
    tags = {"group": item.group, "category": item.category}
    return Sample(id=item.id, input=item.prompt, metadata=tags | ({"twin": item.twin} if item.twin else {}))
