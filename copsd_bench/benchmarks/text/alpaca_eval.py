"""AlpacaEval (Dubois et al. 2024, arXiv 2404.04475): whose answer to an instruction is the better one?"""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.task import MetricSpec, TaskSpec, build_task
from copsd_bench.judges.pairwise import POINTS, ModelJudge, compare
from copsd_bench.judges.protocol import Unscored
from copsd_bench.sources.ids import stable_ids
from copsd_bench.sources.loader import load_records

VERSION = "1"
NO_JUDGE = "unscored: no judge; a pairwise comparison needs --judge MODEL"


@task
def alpaca_eval(judge: str = "none", constitution: str = "none", seed: int = 0) -> Task:
    """Win rate over GPT-4 Turbo's published answers, by our pairwise rubric in both orders; 1024 tokens, greedy.

    Not length-controlled, and another judge's prompt than the authors': compare it with itself only.

    Args:
        judge: `grader`, the model in that role; `none` leaves the comparison unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("alpaca_eval")
    ids = stable_ids([record["instruction"] for record in loaded.records], "alpaca_eval")
    samples = [
        Sample(
            id=i,
            input=record["instruction"],
            metadata={"group": "general", "category": record["dataset"], "reference": record["output"]},
        )
        for i, record in zip(ids, loaded.records, strict=True)
    ]
    judged = judge == "grader"
    spec = TaskSpec(
        dataset=loaded.info(len(samples)),
        metrics=[MetricSpec(name="win_rate", score="win_rate", unit="score")],
        primary="win_rate",
        names={"alpaca_eval": "win_rate"},
        judges={"win_rate": judge},
        constitution=constitution,
        notes=[] if judged else [NO_JUDGE],
    )
    config = GenerateConfig(temperature=0, max_tokens=1024)
    return build_task("alpaca_eval", VERSION, samples, spec, [preferred(judged)], config, seed)


@scorer(metrics=[mean()], name="alpaca_eval")
def preferred(judged: bool = True) -> Scorer:
    """1, 0.5 or 0 for a win, a tie and a loss against the reference; unscored unless both orders gave a verdict."""

    async def score(state: TaskState, target: Target) -> Score:
        if not judged:
            return Score.unscored(reason="no judge")
        grader = ModelJudge(get_model(role="grader", required=True), "help")
        answer, reference = state.output.completion, str(state.metadata["reference"])
        (found,) = await compare(grader, [state.input_text], [answer], [reference])
        if isinstance(found, Unscored):
            return Score.unscored(reason=found.reason)
        return Score(value=POINTS[found.outcome], answer=found.outcome)

    return score
