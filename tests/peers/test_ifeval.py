"""IFEval's four numbers are those of lm-eval's own result and aggregation functions."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.benchmarks.lm_eval_checkers import ifeval_results, provide_punkt
from copsd_bench.benchmarks.text.ifeval import ifeval
from copsd_bench.records.build import task_record
from tests.peers.replay import by_content, evaluated, replaying

COUNT = 24
PARAGRAPH = "The river runs past the old mill and into the lake. " * 12
ANSWERS = [
    "Sure, here is the answer you wanted.\n" + PARAGRAPH.lower().replace(",", ""),
    f"<<On rivers>>\n\n* first point\n* second point\n* third point\n\n***\n\n{PARAGRAPH * 4}\n\nP.S. Write back soon.",
    '{"river": "lake"}',
    f'"{PARAGRAPH.upper()}"',
    f"# Rivers\n*a highlighted section*\n*another one*\n\n{PARAGRAPH}\n\n[name] [address] [date]\n\nMy answer is yes.",
    "",
    "First answer.\n******\nSecond answer. Is there anything else I can help with?",
]


def test_verdicts_and_metrics_are_those_of_lm_eval(data_dir: Path, tmp_path: Path) -> None:
    provide_punkt()
    from lm_eval.tasks.ifeval.utils import agg_inst_level_acc, process_results

    log = evaluated(ifeval(), replaying(by_content(ANSWERS)), tmp_path, limit=COUNT)
    record = task_record(log, 0)

    lines = (data_dir / "IFEval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    docs: dict[str, dict[str, Any]] = {f"ifeval_{doc['key']}": doc for doc in map(json.loads, lines)}
    answers = {str(sample.id): sample.output.completion for sample in log.samples or []}
    assert len(record.samples) == len(answers) == COUNT
    theirs: dict[str, dict[str, Any]] = {}
    for id, answer in answers.items():
        random.seed(docs[id]["key"])  # lm-eval draws the letter to count where an item asks for `#`
        theirs[id] = process_results(docs[id], [answer])

    for row in record.samples:
        expected = theirs[row.id]
        assert row.scores["prompt_strict"] == expected["prompt_level_strict_acc"], row.id
        assert row.scores["prompt_loose"] == expected["prompt_level_loose_acc"], row.id
        for ours, name in (("strict", "inst_level_strict_acc"), ("loose", "inst_level_loose_acc")):
            share = sum(expected[name]) / len(expected[name])
            assert row.scores[f"instruction_share_{ours}"] == pytest.approx(share), row.id

    def mean(name: str) -> float:
        return sum(results[name] for results in theirs.values()) / COUNT

    def pooled(name: str) -> float:
        return float(agg_inst_level_acc([results[name] for results in theirs.values()]))

    expected_metrics = {
        "prompt_strict": mean("prompt_level_strict_acc"),
        "prompt_loose": mean("prompt_level_loose_acc"),
        "instruction_strict": pooled("inst_level_strict_acc"),
        "instruction_loose": pooled("inst_level_loose_acc"),
    }
    values = {name: metric.value for name, metric in record.metrics.items()}
    assert values == pytest.approx(expected_metrics)
    assert 0 < expected_metrics["prompt_strict"] < 1
    pairs = {(r["prompt_level_strict_acc"], r["prompt_level_loose_acc"]) for r in theirs.values()}
    assert (False, True) in pairs, "the answers must tell strict from loose"


def test_an_answer_is_judged_the_same_again() -> None:
    """An item that asks for `#`: lm-eval counts a letter drawn at random instead, another one each time."""
    check = ifeval_results()
    doc = {
        "key": 1122,
        "prompt": "Use four hashtags.",
        "instruction_id_list": ["keywords:letter_frequency"],
        "kwargs": [{"let_relation": "at least", "letter": "#", "let_frequency": 4}],
    }
    state = random.getstate()
    assert len({str(check(doc, "one eerie evening everyone else left")) for _ in range(30)}) == 1
    assert random.getstate() == state, "nobody else's random numbers are touched"


def test_the_sentence_model_is_found_whenever_nltk_was_imported(tmp_path: Path) -> None:
    """NLTK reads its environment when it is imported, and two processes may be the first to need the model."""
    code = (
        "import nltk; from copsd_bench.benchmarks.lm_eval_checkers import provide_punkt; provide_punkt();"
        "print(len(nltk.sent_tokenize('Dr. Smith came. He left.')))"
    )
    env = {**os.environ, "COPSD_CACHE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in processes] == ["2", "2"]
