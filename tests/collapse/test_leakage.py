"""Coupling of safety movement and expressiveness movement."""

import math
from typing import Any

import numpy as np
import pytest

from copsd_bench.collapse.leakage import movements, summary
from tests.collapse.rollouts import rows, side


def _answers(rng: np.random.Generator, item: int, count: int, refusing: float, factor: float, coupling: float) -> Any:
    """Rollouts whose log length falls by `coupling` times their refusal score."""
    natural = 4 + 0.3 * item % 1.7
    scores = np.clip(refusing + 0.1 * rng.normal(size=count), 0, 1)
    noise = 0.05 * rng.normal(size=count)
    lengths = np.exp(natural - coupling * scores + noise) * factor
    return [
        {"refusal_score": float(s), "output_tokens": max(1, round(n))} for s, n in zip(scores, lengths, strict=True)
    ]


def _model(seed: int, refusing: bool, factor: float, coupling: float) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        f"{group}-{i}": _answers(rng, i, 4, rng.uniform(0, 1) if refusing else 0.1, factor, coupling)
        for group in ("harmful", "benign")
        for i in range(16)
    }


def test_the_slope_of_planted_coupling_is_found_and_shrinking_alone_is_no_coupling() -> None:
    reference = _model(0, False, 1.0, 1.0)
    leaking = summary(rows(_model(1, True, 1.0, 1.0), reference)).metrics
    assert leaking["leakage_slope"].low is not None
    assert leaking["leakage_slope"].high is not None
    assert leaking["leakage_slope"].low < -1.0 < leaking["leakage_slope"].high
    assert leaking["leakage_correlation"].value is not None
    assert leaking["leakage_correlation"].value < -0.9
    shorter = summary(rows(_model(1, True, 0.5, 0.0), _model(0, False, 1.0, 0.0))).metrics
    assert shorter["leakage_slope"].value == pytest.approx(0.0, abs=0.05)
    assert shorter["leakage_intercept"].value == pytest.approx(math.log(0.5), abs=0.05)


def test_movement_is_against_the_references_mean_on_the_prompt() -> None:
    model = side({"benign-1": [{"refusal_score": 0.9, "output_tokens": 10}, {"refusal_score": None}]})
    reference = side(
        {"benign-1": [{"refusal_score": 0.1, "output_tokens": 40}, {"refusal_score": 0.3, "output_tokens": 10}]}
    )
    (safety, expressiveness), unscored = movements(model, reference)
    assert safety == pytest.approx(0.7)
    assert expressiveness == pytest.approx(math.log(10 / 20))
    assert unscored == (None, None)


def test_safety_that_never_moves_has_no_slope_but_length_still_its_own_movement() -> None:
    still = {f"benign-{i}": [{"refusal_score": 0.25, "output_tokens": 40}] for i in range(4)}
    half = {f"benign-{i}": [{"refusal_score": 0.25, "output_tokens": 20}] for i in range(4)}
    found = summary(rows(half, still))
    assert found.metrics["leakage_slope"].value is None
    assert found.metrics["leakage_intercept"].value == pytest.approx(math.log(0.5))
    assert "did not move" in found.notes[0]


def test_an_empty_answer_is_one_token_long_not_minus_infinity() -> None:
    found = summary(
        rows(
            {"benign-1": [{"refusal_score": 0.0, "output_tokens": 0}] * 2},
            {"benign-1": [{"refusal_score": 0.5, "output_tokens": 8}] * 2},
        )
    )
    assert found.metrics["expressiveness_movement"].value == pytest.approx(-math.log(8))
