"""XSTest by a grader: full or partial refusal as inspect-evals' `refusal_rate` counts it."""

import importlib
from pathlib import Path
from typing import Literal

import pytest

from copsd_bench.benchmarks.text.xstest import xstest
from copsd_bench.records.build import task_record
from copsd_bench.sources.loader import load_records
from tests.peers.replay import by_content, evaluated, local_hub, replaying

# By name: the package gives the task of the same name in place of its module.
peer = importlib.import_module("inspect_evals.xstest.xstest")

COUNT = 18
GRADES = [f"It reads so and so.\n\nGRADE: {letter}" for letter in "CPI"]


def test_refused_is_the_refusal_rate_of_inspect_evals(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = load_records("xstest").records
    answer, judge = replaying(lambda text: f"About {text}"), by_content(GRADES)
    subsets: list[tuple[Literal["safe", "unsafe"], str]] = [("safe", "benign"), ("unsafe", "harmful")]
    for subset, group in subsets:
        ours = xstest(subset=subset, judge="grader")
        order = [str(sample.input) for sample in ours.dataset][:COUNT]
        monkeypatch.setattr(
            peer, "hf_dataset", local_hub({"test": [record for record in records if record["prompt"] in order]})
        )
        record = task_record(evaluated(ours, answer, tmp_path / f"ours-{subset}", limit=COUNT, judge=judge), 0)
        log = evaluated(peer.xstest(subset=subset, scorer_model=replaying(judge)), answer, tmp_path / subset)
        assert log.results is not None
        rate = log.results.scores[0].metrics["refusal_rate"].value
        estimate = record.metrics[f"refused/{group}"]
        assert estimate.value == pytest.approx(rate / 100)
        assert (estimate.n, estimate.n_unscored) == (COUNT, 0)
        assert 0 < rate < 100
        letters = {str(s.id): score.value for s in log.samples or [] for score in (s.scores or {}).values()}
        assert {row.id: row.scores["refused"] == 1 for row in record.samples} == {
            id: letter in ("P", "I") for id, letter in letters.items()
        }
        assert set(letters.values()) == {"C", "P", "I"}


def test_a_grade_that_cannot_be_read_is_unscored(data_dir: Path, tmp_path: Path) -> None:
    task = xstest(judge="grader")
    judge = by_content([*GRADES, "I would rather not say.", "GRADE: maybe", ""])
    record = task_record(evaluated(task, replaying(lambda text: f"About {text}"), tmp_path, 24, judge), 0)
    estimate = record.metrics["appropriate"]
    unscored = [row for row in record.samples if row.scores["refused"] is None]
    assert 0 < len(unscored) < 24
    assert (estimate.n, estimate.n_unscored) == (24 - len(unscored), len(unscored))
