"""Directions and drifts are found where they were planted, and stay silent where there is nothing to measure."""

from typing import Any

import numpy as np
import pytest

from copsd_bench.collapse.directions import DETAIL, States, difference_of_means, layer_series
from copsd_bench.collapse.rows import Rows
from copsd_bench.records.schema import SampleRow

LAYERS, HIDDEN = [1, 5], 64


def noise(rng: np.random.Generator) -> Any:
    return 0.01 * rng.standard_normal((len(LAYERS), HIDDEN)).astype(np.float32)


def unit(axis: int) -> Any:
    return np.tile(np.eye(HIDDEN, dtype=np.float32)[axis], (len(LAYERS), 1))


def planted(
    cosine: float,
    refusal: float,
    verbosity: float,
    groups: tuple[str, ...] = ("harmful", "benign"),
    topics: float = 0.0,
) -> Rows:
    """Harmful prompts lie 3 along axis 0; long answers lie 2 along a direction with that cosine to it.

    With `topics`, each harmful prompt and the benign one after it are twins on a topic of their own, that far away.
    """
    rng = np.random.default_rng(0)
    long = cosine * unit(0) + (1 - cosine**2) ** 0.5 * unit(1)
    model, details = [], {}
    for k in range(40):
        group: Any = groups[k % len(groups)]
        if k % 2 == 0:
            topic = topics * rng.standard_normal((len(LAYERS), HIDDEN)).astype(np.float32)
        states = States(
            layers=LAYERS,
            prompt=topic + 7 * unit(2) + (3 * unit(0) if group == "harmful" else 0) + noise(rng),
            prompt_change=3 * refusal * unit(0) + 9 * unit(3) + noise(rng),
            length_change=2 * long + noise(rng) if k % 3 else None,
            answer_change=2 * verbosity * long + 9 * unit(4) + noise(rng),
        )
        model.append(SampleRow(id=str(k), group=group, tags={"twin": str(k ^ 1)} if topics else {}))
        details[str(k)] = {DETAIL: states.pack()}
    return Rows(model, [], details)


@pytest.mark.parametrize(("cosine", "refusal", "verbosity"), [(0.0, 0.0, 0.0), (-0.6, 0.5, -0.25), (0.9, -1.0, 2.0)])
@pytest.mark.parametrize("groups", [("harmful", "benign"), ("harmful", "general")])
def test_planted_directions_and_drifts_are_found(
    cosine: float, refusal: float, verbosity: float, groups: tuple[str, ...]
) -> None:
    found = {series.name: series for series in layer_series(planted(cosine, refusal, verbosity, groups))}
    expected = {"direction_cosine": cosine, "refusal_drift": refusal, "verbosity_drift": verbosity}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        series = found[name]
        assert series.x == LAYERS
        for y, low, high in zip(series.y, series.low, series.high, strict=True):
            assert y == pytest.approx(value, abs=0.03)
            assert low <= y <= high  # type: ignore[operator]


def test_the_topic_of_twins_cancels() -> None:
    """Topics lie further apart than harmful from harmless: only the pairs show the direction."""
    found = {series.name: series for series in layer_series(planted(-0.6, 0.5, -0.25, topics=3.0))}
    assert found["refusal_drift"].y == pytest.approx([0.5, 0.5], abs=0.03)
    assert found["direction_cosine"].y == pytest.approx([-0.6, -0.6], abs=0.03)


@pytest.mark.parametrize("groups", [("harmful",), ("benign", "general")])
def test_a_missing_class_of_prompts_gives_no_curve(groups: tuple[str, ...]) -> None:
    assert layer_series(planted(0, 0, 0, groups)) == []


def test_packing_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    states = States(LAYERS, noise(rng), noise(rng), None, noise(rng))
    again = States.unpack(states.pack())
    assert again.layers == states.layers
    assert again.length_change is None
    for name in ("prompt", "prompt_change", "answer_change"):
        np.testing.assert_array_equal(getattr(again, name), getattr(states, name))


def test_classes_no_further_apart_than_noise_have_no_direction_to_drift_along() -> None:
    rng = np.random.default_rng(0)
    harmful, harmless = rng.standard_normal((2, 8, 400, HIDDEN)).astype(np.float32)
    direction = difference_of_means(harmful, harmless)
    assert (direction.vector**2).sum(-1).mean() == pytest.approx(2 * HIDDEN / 8, rel=0.05)
    assert 0.4 < np.isnan(direction.squared).mean() < 0.7  # half of the layers lie below the average of noise
    far = difference_of_means(harmful + 5 * unit(0)[:1], harmless)
    assert far.squared.mean() == pytest.approx(25 + 2 * HIDDEN / 8, rel=0.05)
    assert np.isnan(difference_of_means(harmful[:1], harmless).squared).all()
