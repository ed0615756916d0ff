"""Comparison: paired, in the right units, corrected over tasks."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from copsd_bench.records.change import PANEL_CHANGES, panel_change
from copsd_bench.records.compare import LEGEND, compare, comparison_parts
from copsd_bench.records.grid import Grid
from copsd_bench.records.schema import Estimate, RunRecord
from copsd_bench.records.significance import holm
from tests.records.factory import BASE, Behaviour, like, record, rows, task, with_rows, with_task


def _many(behaviour: Behaviour, run_seed: int, names: tuple[str, ...] = ("one", "two", "three")) -> RunRecord:
    groups = {"harmful": 30, "benign": 30, "general": 30}
    tasks = [
        task(name, rows(behaviour, groups, run_seed=run_seed, item_seed=i, prefix=name)) for i, name in enumerate(names)
    ]
    return record(tasks=tasks, run_seed=run_seed)


def test_a_run_against_itself_does_not_change() -> None:
    for change in compare(record(), record()).tasks[0].panel:
        none = 1.0 if change.kind == "ratio" else 0.0
        assert change.change.value == pytest.approx(none)
        assert change.change.low is not None
        assert change.change.high is not None
        assert change.change.low <= none <= change.change.high


def test_changes_of_known_size_are_found() -> None:
    other = record(like(length=0.5, entropy=BASE.entropy + np.log(0.5), logprob=-0.8), run_seed=1)
    panel = {change.statistic: change for change in compare(record(), other).tasks[0].panel if change.group == "benign"}
    assert panel["tokens_median"].change.value == pytest.approx(0.5, abs=0.03)
    assert panel["entropy"].change.value == pytest.approx(0.5, abs=0.02)  # contraction: exp of the difference
    assert panel["logprob"].change.value == pytest.approx(-0.3, abs=0.02)


def test_reversing_the_order_reverses_the_change() -> None:
    first, second = record(), record(like(length=0.6, accuracy=0.3), run_seed=1)
    there, back = compare(first, second).tasks[0], compare(second, first).tasks[0]
    for a, b in zip(there.scores + there.panel, back.scores + back.panel, strict=True):
        assert a.change.value is not None
        assert b.change.value is not None
        expected = 1 / a.change.value if a.kind == "ratio" else -a.change.value
        assert b.change.value == pytest.approx(expected)


def test_primary_scores_are_corrected_over_tasks() -> None:
    found = compare(_many(BASE, 0), _many(like(accuracy=0.42), 1))
    primaries = [item.scores[0] for item in found.tasks]
    assert {change.test for change in primaries} == {"mcnemar"}
    assert [change.p_holm for change in primaries] == holm([change.p for change in primaries])
    assert any(change.p != change.p_holm for change in primaries)


def test_groups_are_the_base_s_and_sum_up() -> None:
    found = compare(record(), record(run_seed=1)).tasks[0].panel
    by_group = {change.group: change.change.n for change in found if change.statistic == "refusal"}
    assert by_group == {"": 240, "harmful": 90, "benign": 90, "general": 60}


def test_items_unscored_in_one_run_leave_the_pair() -> None:
    other = record(run_seed=1)
    samples = [
        row.model_copy(update={"refusal": None}) if i < 20 else row for i, row in enumerate(other.tasks[0].samples)
    ]
    change = panel_change(record().tasks[0], with_task(other, samples=samples).tasks[0], "refusal")
    assert (change.change.n, change.lost) == (220, 20)


def test_a_statistic_neither_run_has_is_left_out() -> None:
    runs = [with_rows(record(run_seed=seed), mean_entropy=None) for seed in (0, 1)]
    assert "entropy" not in {change.statistic for change in compare(*runs).tasks[0].panel}


def test_a_metric_without_scores_of_the_samples_is_shown_but_not_tested() -> None:
    metrics = {"kappa": Estimate(value=0.5, n=240, unit="score")}
    run = with_task(record(), metrics=metrics, primary="kappa")
    change = (
        compare(run, with_task(run, metrics={"kappa": Estimate(value=0.4, n=240, unit="score")})).tasks[0].scores[0]
    )
    assert change.change.value == pytest.approx(-0.1)
    assert (change.change.low, change.p, change.p_holm) == (None, None, None)


def test_epochs_are_averaged_before_pairing() -> None:
    runs = [record(epochs=3, tasks=[task(samples=rows(epochs=3, run_seed=seed))]) for seed in (0, 1)]
    found = compare(*runs).tasks[0]
    assert {change.change.n for change in found.panel if not change.group} == {240}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=30))
def test_length_ratio_is_the_ratio_of_medians(lengths: list[tuple[int, int]]) -> None:
    template = rows(groups={"benign": 1})[0]
    sides = [
        task(
            samples=[
                template.model_copy(update={"id": str(i), "output_tokens": pair[k]}) for i, pair in enumerate(lengths)
            ]
        )
        for k in (0, 1)
    ]
    change = panel_change(sides[0], sides[1], "tokens_median")
    base, other = (float(np.median([pair[k] for pair in lengths])) for k in (0, 1))
    assert change.change.value == pytest.approx(other / base)
    assert (change.base, change.other) == (base, other)


def test_tables_fit_a_hundred_columns_and_hold_every_class() -> None:
    parts = comparison_parts(compare(_many(BASE, 0), _many(like(length=0.5), 1)))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in [*parts, LEGEND]:
        console.print(part.rich() if isinstance(part, Grid) else part)
    text = console.export_text()
    assert "…" not in text
    assert text.count("· benign") == 3
    markdown = "".join(part.markdown() for part in parts if isinstance(part, Grid))
    assert markdown.count("| · benign |") == 3


def test_every_compared_statistic_is_in_the_panel() -> None:
    found = {change.statistic for change in compare(record(), record()).tasks[0].panel}
    assert found == set(PANEL_CHANGES)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_terminal_keeps_labels_and_whole_numbers(width: int) -> None:
    grid = Grid("Title", ["Task and prompts", *(f"Number {i}" for i in range(6))])
    grid.add("mini", *(f"{i}.00 [0.50, 1.50]" for i in range(6)))
    grid.add("· harmful", *(f"{i}.25 [0.50, 1.50]" for i in range(6)))
    console = Console(file=io.StringIO(), width=width)
    console.print(grid.rich())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    parts = len(grid.parts(width))
    assert (parts == 1) == (width == 200)
    assert shown.count("· harmful") == shown.count("Task and prompts") == parts
    assert all(f"{i}.00 [0.50, 1.50]" in shown and f"{i}.25 [0.50, 1.50]" in shown for i in range(6))
