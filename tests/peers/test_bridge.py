"""Tasks through the bridge send what lm-eval sends and judge as it judges, item by item."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.benchmarks.bridge.items import bridged, verdict
from copsd_bench.benchmarks.text.bbh import bbh
from copsd_bench.benchmarks.text.math500 import math500
from copsd_bench.records.build import task_record
from tests.peers.lm_eval_models import ChosenLM, forms_of, lm_eval_verdicts
from tests.peers.replay import Messages, evaluated, replaying

COUNT = 24
MATH_FORMS = [
    "Final Answer: The final answer is ${x}$. I hope it is correct.",
    "So it is $\\boxed{{x}}$.",
    "The answer: {x}",
    "Final Answer: The final answer is ${x}$. I hope it is correct.\n\nProblem:\nWhat is 7? $\\boxed{7}$",
    "Final Answer: The final answer is $\\frac{1}{0}$. I hope it is correct.",
    "",
    "$\\boxed{",
]
BBH_FORMS = [
    "First this. So the answer is {x}.",
    "So the answer is {x}.\n\nQ: Another one?\nA: So the answer is nothing.",
    "the answer is {x}",
    "**So the answer is {x}.**",
    "{x}",
    "Quite so. So the answer is {x}.",
    "",
]


@pytest.mark.parametrize(
    ("build", "name", "gold", "forms", "each"),
    [(math500, "minerva_math500", "answer", MATH_FORMS, COUNT), (bbh, "bbh_cot_fewshot", "target", BBH_FORMS, 1)],
    ids=["math500", "bbh"],
)
def test_messages_and_verdicts_are_those_of_lm_eval(
    data_dir: Path, tmp_path: Path, build: Any, name: str, gold: str, forms: list[str], each: int
) -> None:
    items = [item for item in bridged(name).items.values() if item.requests[0].doc_id < each]
    questions = [str(item.requests[0].args[0][-1]["content"]) for item in items]
    answers = dict(zip(questions, forms_of([str(item.doc[gold]) for item in items], forms), strict=True))

    peer = ChosenLM(answer=answers.__getitem__)
    theirs = lm_eval_verdicts(name, peer, each, chat=True)
    sent: list[Messages] = []
    record = task_record(evaluated(build(), replaying(answers.__getitem__, sent), tmp_path, limit=len(items)), seed=0)

    by_task = {(task, sample["doc_id"]): sample for task, samples in theirs.items() for sample in samples}
    assert sorted(sent) == sorted(peer.sent)
    assert len(record.samples) == len(items) >= COUNT
    seen = set()
    for row in record.samples:
        request = bridged(name).items[row.id].requests[0]
        expected = by_task[(request.task_name, request.doc_id)]
        for metric in record.metrics:
            assert row.scores[metric] == expected[metric], (row.id, metric)
            seen.add((metric, expected[metric]))
    assert len(seen) == 2 * len(record.metrics), "the answers must tell a right rule from a wrong one"


@pytest.mark.parametrize("name", ["arc_challenge", "truthfulqa_mc1", "mmlu_anatomy"])
def test_multiple_choice_verdicts_are_those_of_lm_eval(data_dir: Path, name: str) -> None:
    """On log-likelihoods drawn by the text of context and continuation."""

    def likelihood(context: str, continuation: str) -> tuple[float, bool]:
        drawn = hashlib.sha256(f"{context}\0{continuation}".encode()).digest()
        return -int.from_bytes(drawn[:2]) / 1000, drawn[2] < 40

    theirs = lm_eval_verdicts(name, ChosenLM(likelihood=likelihood), COUNT, chat=False)[name]
    items = list(bridged(name).items.values())[:COUNT]
    found = set()
    for item, expected in zip(items, theirs, strict=True):
        assert item.pairs == [tuple(pair) for pair in expected["arguments"]]
        scores = verdict(item, [likelihood(*pair) for pair in item.pairs])
        assert scores == {metric: expected[metric] for metric in bridged(name).metrics}
        found.add(scores["acc"])
    assert found == {0.0, 1.0}
