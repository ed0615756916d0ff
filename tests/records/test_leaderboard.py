"""Leaderboard and result table: only what compares stands together, and unknown numbers are dashes."""

import csv
import io

import pytest
from rich.console import Console

from copsd_bench.errors import CopsdError
from copsd_bench.records.grid import Grid
from copsd_bench.records.leaderboard import leaderboard, leaderboard_csv, leaderboard_parts
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo
from copsd_bench.records.table import panel_grid, print_results, score_grid
from tests.records.factory import GENERATION, like, record, rows, task, with_rows, with_task

TUNED = ModelInfo(name="tiny", weights_digest="b" * 64, adapter="copsd", template_digest="d" * 64)


def test_models_and_constitutions_share_a_block() -> None:
    runs = [
        record(),
        record(run_seed=1, model=TUNED),
        record(run_seed=2, constitution=ConstitutionInfo(mode="default")),
    ]
    (block,) = leaderboard(runs)
    assert [row.name for row in block.rows] == ["tiny", "tiny + copsd", "tiny · constitution default"]


def test_what_does_not_compare_stands_apart_with_the_reason() -> None:
    longer = with_task(record(run_seed=2), generation=GENERATION | {"max_tokens": 512})
    first, second = leaderboard([record(), record(run_seed=1, model=TUNED), longer])
    assert len(first.rows) == 2
    assert "generation.max_tokens is 160 / 512" in second.apart


def test_two_runs_of_one_model_are_told_apart() -> None:
    (block,) = leaderboard([record(run_seed=1), record(run_seed=2)])
    assert [row.name for row in block.rows] == ["tiny (run-1)", "tiny (run-2)"]


def test_suite_filter_and_nothing_to_show() -> None:
    runs = [record(), record(suite="text", model=TUNED)]
    assert [row.name for row in leaderboard(runs, "text")[0].rows] == ["tiny + copsd"]
    with pytest.raises(CopsdError, match="did you mean 'text'"):
        leaderboard(runs, "txt")
    with pytest.raises(CopsdError, match="no record"):
        leaderboard([])


def test_csv_has_a_line_a_run_and_number() -> None:
    lines = list(csv.DictReader(io.StringIO(leaderboard_csv(leaderboard([record(), record(run_seed=1, model=TUNED)])))))
    scores = [line for line in lines if line["number"] == "mini"]
    assert [line["adapter"] for line in scores] == ["", "copsd"]
    assert float(scores[0]["value"]) == record().tasks[0].metrics["accuracy"].value


def test_panel_of_a_row_is_over_all_its_tasks() -> None:
    tasks = [task("one", rows(prefix="one")), task("two", rows(like(length=0.5), prefix="two"))]
    (block,) = leaderboard([record(tasks=tasks)])
    assert block.rows[0].panel["tokens_median"].n == 480
    same = record(tasks=[task("one", rows(epochs=2)), task("two", rows(epochs=2))])
    assert leaderboard([same])[0].rows[0].panel["tokens_median"].n == 480, "two tasks on the same answers"


def test_many_tasks_are_split_over_tables_that_fit() -> None:
    names = [f"benchmark{i}" for i in range(8)]
    groups = {"harmful": 5, "benign": 5}
    runs = [
        record(
            model=ModelInfo(name=name, weights_digest=""), tasks=[task(n, rows(groups=groups, prefix=n)) for n in names]
        )
        for name in ("tiny", "large")
    ]
    parts = leaderboard_parts(leaderboard(runs), tasks_per_grid=5)
    assert sum(isinstance(part, Grid) for part in parts) == 3
    text = _render([part.rich() for part in parts if isinstance(part, Grid)], 100)
    assert all(name in text for name in names)
    assert "…" not in text


@pytest.mark.parametrize("width", [80, 100])
def test_the_result_table_fits(width: int) -> None:
    run = record(tasks=[task(), task("strongreject", rows(groups={"harmful": 30}, prefix="s"), notes=["no judge [x]"])])
    console = Console(width=width, record=True, file=io.StringIO())
    print_results(run, console)
    text = console.export_text()
    assert "47.9 ± 6.3 %" in text
    assert "no judge [x]" in text
    assert "· benign" in text
    if width == 100:
        assert "…" not in text


def test_unscored_items_show_and_unknown_numbers_are_left_out() -> None:
    run = with_rows(record(), mean_entropy=None)
    samples = run.tasks[0].samples
    bare = task(samples=samples)
    assert "Entr." not in panel_grid([bare]).headings
    metric = bare.metrics["accuracy"].model_copy(update={"n": 200, "n_unscored": 40})
    assert score_grid([task(samples=samples, metrics={"accuracy": metric})]).rows[0][3:] == ["200", "40"]
    nothing = metric.model_copy(update={"value": None, "low": None, "high": None})
    assert score_grid([task(samples=samples, metrics={"accuracy": nothing})]).rows[0][2] == "unscored"


def _render(parts: list[object], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()
