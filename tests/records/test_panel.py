"""The panel: unknown values are unscored, names carry the prompt class, numbers are those of the rows."""

import numpy as np
import pytest

from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.records.build import metric_estimate
from copsd_bench.records.panel import STATISTICS, panel
from tests.records.factory import rows


def test_panel_has_every_statistic_overall_and_by_class_that_occurs() -> None:
    found = panel(rows(groups={"harmful": 12, "benign": 10}))
    expected = {f"{name}{suffix}" for name in STATISTICS for suffix in ("", "/harmful", "/benign")}
    assert set(found) == expected
    assert found["refusal/harmful"].n == 12
    assert found["refusal"].n == 22


def test_numbers_are_those_of_the_rows() -> None:
    samples = rows()
    found = panel(samples)
    tokens = [row.output_tokens for row in samples]
    assert found["tokens_median"].value == np.median(tokens)
    assert found["tokens_q25"].value == np.quantile(tokens, 0.25)
    assert found["tokens_mean"].value == pytest.approx(np.mean(tokens))
    benign = [row for row in samples if row.group == "benign"]
    refused = [row.refusal in ("full_refusal", "partial_refusal") for row in benign]
    assert found["refusal/benign"].value == pytest.approx(np.mean(refused))


def test_partial_refusals_count_as_refusals_but_not_as_full_ones() -> None:
    labels = ["full_refusal", "partial_refusal", "compliance", "degenerate"]
    samples = [row.model_copy(update={"refusal": label}) for row, label in zip(rows(), labels, strict=False)]
    found = panel(samples)
    assert found["refusal"].value == 0.5
    assert found["full_refusal"].value == 0.25
    assert found["degenerate"].value == 0.25


def test_unknown_values_are_unscored_and_never_zero() -> None:
    samples = rows(groups={"benign": 10})
    half = [row.model_copy(update={"refusal": None, "output_tokens": None}) for row in samples[:4]] + samples[4:]
    found = panel(half)
    assert (found["refusal"].n, found["refusal"].n_unscored) == (6, 4)
    assert found["tokens_mean"].value == pytest.approx(np.mean([row.output_tokens for row in samples[4:]]))


def test_a_statistic_nobody_reports_is_left_out() -> None:
    samples = [row.model_copy(update={"mean_entropy": None}) for row in rows()]
    assert not [name for name in panel(samples) if name.startswith("entropy")]


def test_epochs_are_clusters() -> None:
    one = panel(rows(groups={"benign": 60}))["tokens_mean"]
    three = panel(rows(groups={"benign": 60}, epochs=3))["tokens_mean"]
    assert three.n == 180
    assert three.stderr == pytest.approx(one.stderr)
    assert three.method == "t-clustered"


@pytest.mark.parametrize("unit", ["fraction", "score"])
def test_a_judge_that_says_0_of_every_answer_does_not_make_it_certain(unit: str) -> None:
    samples = [row.model_copy(update={"scores": {"harm": 0.0}}) for row in rows(groups={"harmful": 20})]
    found = metric_estimate(MetricSpec(name="harm", score="harm", unit=unit), samples)  # type: ignore[arg-type]
    assert (found.value, found.unit) == (0.0, unit)
    assert found.high == pytest.approx(0.161, abs=0.001)  # Wilson's limit: z^2 / (n + z^2)


def test_nothing_but_ties_does_not_make_a_win_rate_certain() -> None:
    samples = [row.model_copy(update={"scores": {"win": 0.5}}) for row in rows(groups={"general": 20})]
    found = metric_estimate(MetricSpec(name="win", score="win"), samples)
    assert (found.value, found.n) == (0.5, 20)
    assert (found.low, found.high) == pytest.approx((0.299, 0.701), abs=0.001)  # Wilson's of 10 among 20
