"""Summaries of divergences: definitions by hand, ranges, and the properties that give them their names."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.divergence import (
    OWN,
    answer_curves,
    answer_scores,
    contraction,
    mode_seeking,
    position_bins,
    summary,
)
from copsd_bench.collapse.rows import Rows
from copsd_bench.engine.divergence import Divergence, position_numbers
from copsd_bench.records.schema import SampleRow

NATS = st.just(0.0) | st.floats(1e-6, 20)


def divergence(model: torch.Tensor, reference: torch.Tensor) -> Divergence:
    """Of logits [T, V] of both sides."""
    ids = torch.zeros(len(model), dtype=torch.long)
    numbers = position_numbers(model.log_softmax(-1), reference.log_softmax(-1), ids, 0.9)
    return Divergence(*(tuple(column.tolist()) for column in numbers))


def rows(found: dict[str, tuple[list[Divergence], list[Divergence]]]) -> Rows:
    """Rows of prompts (named after their class) from the divergences on the model's and the reference's samples."""
    sides: list[list[SampleRow]] = [[], []]
    details: dict[str, Any] = {}
    for prompt, on in found.items():
        group: Any = prompt.rstrip("0123456789")
        for side, answers in zip(sides, on, strict=True):
            side += [
                SampleRow(id=prompt, epoch=epoch, group=group, scores=answer_scores(one))
                for epoch, one in enumerate(answers, 1)
            ]
        details[prompt] = {
            "on_model": [answer_curves(one) for one in on[0]],
            "on_reference": [answer_curves(one) for one in on[1]],
        }
    return Rows(sides[0], sides[1], details)


def logits(seed: int, length: int = 5) -> torch.Tensor:
    return 2 * torch.randn((length, 50), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("temperature", "narrower"), [(0.5, True), (2.0, False)])
def test_a_sharpened_model_contracts_and_seeks_modes_and_a_flattened_one_spreads(
    temperature: float, narrower: bool
) -> None:
    prompts = [f"{group}{i}" for group in ("harmful", "benign") for i in range(4)]
    found = {
        prompt: tuple([divergence(logits(4 * k + e) / temperature, logits(4 * k + e)) for e in (0, 1)] for _ in (0, 1))
        for k, prompt in enumerate(prompts)
    }
    metrics = summary(rows(found)).metrics  # type: ignore[arg-type]
    for at in ("", ".on_model", ".on_reference"):
        for group in ("", "/harmful", "/benign"):
            index, ratio = metrics[f"mode_seeking{at}{group}"], metrics[f"contraction{at}{group}"]
            assert None not in (index.low, index.high, ratio.low, ratio.high)
            assert (index.low > 0) if narrower else (index.high < 0)  # type: ignore[operator]
            assert (ratio.high < 1) if narrower else (ratio.low > 1)  # type: ignore[operator]
    assert (metrics["dropped_mass"].value > 0.1) == narrower  # type: ignore[operator]


def test_an_unchanged_model_is_neutral_everywhere() -> None:
    same = [divergence(logits(0), logits(0))]
    metrics = summary(rows({"harmful0": (same, same), "benign0": (same, same)})).metrics
    assert metrics["mode_seeking"].value == 0.0
    assert metrics["contraction"].value == 1.0
    assert metrics["kl_model_reference.on_model"].value == 0.0
    assert 0 < metrics["dropped_mass"].value <= 0.1  # type: ignore[operator]


@given(st.lists(st.tuples(NATS, NATS), min_size=1, max_size=6))
def test_the_index_is_bounded_and_turns_its_sign_with_the_roles(pairs: list[tuple[float, float]]) -> None:
    forth = {str(i): [r] for i, (r, _) in enumerate(pairs)}
    back = {str(i): [f] for i, (_, f) in enumerate(pairs)}
    index, swapped = mode_seeking(forth, back), mode_seeking(back, forth)
    reverse, forward = sum(r for r, _ in pairs), sum(f for _, f in pairs)
    if reverse and forward:
        assert index.value == pytest.approx((forward - reverse) / (forward + reverse))
        assert index.value == pytest.approx(-swapped.value)  # type: ignore[operator]
    for number in (index.value, index.low, index.high):
        assert number is None or -1 <= number <= 1


def test_contraction_is_the_ratio_of_effective_tokens() -> None:
    found = contraction({"a": [1.0, 2.0], "b": [3.0]}, {"a": [1.0, 1.0], "b": [2.0]})
    assert found.value == pytest.approx(math.exp((-0.5 - 1.0) / 2))
    assert found.unit == "ratio"
    assert found.low <= found.value <= found.high  # type: ignore[operator]
    assert contraction({"a": []}, {"a": [1.0]}).value is None


def test_every_number_is_taken_on_the_samples_it_is_an_expectation_over() -> None:
    on_model = [divergence(logits(1), logits(2))]
    on_reference = [divergence(logits(3, 9), logits(4, 9))]
    found = summary(rows({"general0": (on_model, on_reference)}))
    for name, samples in OWN.items():
        for where, one in (("on_model", on_model[0]), ("on_reference", on_reference[0])):
            mean = sum(getattr(one, name)) / len(getattr(one, name))
            assert found.metrics[f"{name}.{where}/general"].value == pytest.approx(mean)
        curve = next(s for s in found.series if s.name == name and s.group == "general")
        own = getattr((on_model if samples == "on_model" else on_reference)[0], name)
        assert curve.y == pytest.approx([sum(own[a - 1 : b]) / len(own[a - 1 : b]) for a, b in position_bins(len(own))])
        assert curve.x == [(a + b) / 2 for a, b in position_bins(len(own))]
    index = found.metrics["mode_seeking"].value
    reverse, forward = on_model[0].kl_model_reference, on_reference[0].kl_reference_model
    r, f = sum(reverse) / len(reverse), sum(forward) / len(forward)
    assert index == pytest.approx((f - r) / (f + r))


def test_bins_double_and_hold_every_position() -> None:
    assert position_bins(0) == []
    assert position_bins(9) == [(1, 1), (2, 3), (4, 7), (8, 15)]


def test_an_answer_without_tokens_and_an_infinite_divergence_are_unscored() -> None:
    empty = Divergence(*([()] * 7))
    assert set(answer_scores(empty).values()) == {None}
    dropped = logits(0, 1)
    dropped[0, 3] = -torch.inf
    scores = answer_scores(divergence(dropped, logits(0, 1)))
    assert scores["kl_reference_model"] is None
    assert scores["kl_model_reference"] is not None
    metrics = summary(rows({"general0": ([empty], [empty])})).metrics
    assert metrics["contraction"].value is metrics["mode_seeking"].value is None
