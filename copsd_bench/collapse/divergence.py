"""Which way a model moved from its reference: both KL divergences, entropies, and what the model dropped.

Every number is measured on the model's samples (`.on_model`) and on the reference's (`.on_reference`), in nats per
token: the mean over an answer's positions, then over answers, prompts as clusters; a long answer counts as much as a
short one. Without such a suffix a number is taken where its expectation lies: KL(model || reference) and the model's
entropy on the model's samples, KL(reference || model), the reference's entropy and what it loses on the reference's.

| number | meaning | range |
|---|---|---|
| contraction | exp(H_model - H_reference): ratio of the effective number of next tokens | above 0; 1 is unchanged |
| mode_seeking | (F - R) / (F + R), F = KL(reference || model), R = KL(model || reference) | -1 to 1 |
| dropped_mass | the reference's probability outside the model's 0.9 nucleus | 0 to 1; up to 0.1 if unchanged |

Above 0 the reference goes where the model hardly does (the model sits on some of its modes); below 0 the model spread
beyond its reference. Two equal distributions have the index 0. COPSD (arXiv 2606.03089) names the direction of the
divergence as the cause of contraction; the index is this project's.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from copsd_bench.collapse.rows import Rows, Summary, mean_of, score, series_of, values_by_id
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate, SampleRow, Series

if TYPE_CHECKING:
    from copsd_bench.engine.divergence import Divergence

Samples = Literal["on_model", "on_reference"]
OWN: dict[str, Samples] = {
    "kl_model_reference": "on_model",
    "kl_reference_model": "on_reference",
    "entropy": "on_model",
    "reference_entropy": "on_reference",
    "dropped_mass": "on_reference",
}
"""The numbers of an answer, and whose samples they are an expectation over."""
LABELS = {
    "kl_model_reference": ("KL(model || reference), on the model's samples", "nats per token"),
    "kl_reference_model": ("KL(reference || model), on the reference's samples", "nats per token"),
    "entropy": ("entropy of the model, on its samples", "nats per token"),
    "reference_entropy": ("entropy of the reference, on its samples", "nats per token"),
    "dropped_mass": ("reference's mass outside the model's 0.9 nucleus", "fraction"),
}


def answer_scores(found: "Divergence") -> dict[str, float | None]:
    """Means over the positions of one answer; None where it has none, or where one is infinite."""
    return {name: _mean(getattr(found, name)) for name in OWN}


def position_bins(length: int) -> list[tuple[int, int]]:
    """Bins of token positions, first and last from 1: 1, 2-3, 4-7, 8-15 ... up to the one that holds `length`.

    They double because divergences change fastest at the first tokens, and few answers reach the last ones.
    """
    return [(1 << k, (2 << k) - 1) for k in range(length.bit_length())]


def answer_curves(found: "Divergence") -> dict[str, list[float | None]]:
    """Means of each number over the positions in each of `position_bins`."""
    bins = position_bins(len(found.entropy))
    return {name: [_mean(getattr(found, name)[first - 1 : last]) for first, last in bins] for name in OWN}


def summary(rows: Rows) -> Summary:
    """The numbers of `kl_direction`.

    Args:
        rows: scores of each row as `answer_scores` gives them, `details` with a list of `answer_curves` (one a
            rollout) for each of `Samples`.
    """
    metrics: dict[str, Estimate] = {}
    series: list[Series] = []
    for suffix, part in rows.by_group():
        sides: dict[Samples, Sequence[SampleRow]] = {"on_model": part.model, "on_reference": part.reference}
        for name in OWN:
            for samples, side in sides.items():
                metrics[f"{name}.{samples}{suffix}"] = mean_of(side, score(name), _unit(name))
            series.append(_curve(name, suffix.removeprefix("/"), part))
        metrics[f"dropped_mass{suffix}"] = metrics[f"dropped_mass.{OWN['dropped_mass']}{suffix}"]
        for at, where in _places():
            values = {name: values_by_id(sides[where(name)], score(name)) for name in OWN}
            metrics[f"contraction{at}{suffix}"] = contraction(values["reference_entropy"], values["entropy"])
            metrics[f"mode_seeking{at}{suffix}"] = mode_seeking(
                values["kl_model_reference"], values["kl_reference_model"]
            )
    return Summary(metrics, series)


def contraction(reference_entropy: stats.ById, entropy: stats.ById) -> Estimate:
    """exp(H_model - H_reference), the difference paired on prompts; below 1 the model has fewer tokens to choose from.

    Args:
        reference_entropy, entropy: nats per token of each answer, by prompt.
    """
    change = stats.paired_difference(reference_entropy, entropy, "nats")
    value = None if change.value is None else math.exp(change.value)
    return change.model_copy(
        update={
            "value": value,
            "stderr": None if value is None or change.stderr is None else value * change.stderr,  # delta method
            "low": None if change.low is None else math.exp(change.low),
            "high": None if change.high is None else math.exp(change.high),
            "unit": "ratio",
        }
    )


def mode_seeking(kl_model_reference: stats.ById, kl_reference_model: stats.ById) -> Estimate:
    """(F - R) / (F + R) of the mean divergences, paired on prompts; in [-1, 1], and 0 where both are 0.

    The index rises with the ratio F / R, so its interval is the ratio's.

    Args:
        kl_model_reference, kl_reference_model: R and F, nats per token of each answer, by prompt.
    """
    ratio = stats.paired_ratio(kl_model_reference, kl_reference_model, of="mean")
    if ratio.value is None:  # nothing scored, or R is 0: then the distributions are equal, and F is 0 too
        found = 0.0 if ratio.n else None
        return ratio.model_copy(update={"value": found, "low": found, "high": found, "unit": "score"})
    slope = 2 / (1 + ratio.value) ** 2
    return ratio.model_copy(
        update={
            "value": _index(ratio.value),
            "stderr": None if ratio.stderr is None else slope * ratio.stderr,  # delta method
            "low": None if ratio.low is None else _index(ratio.low),
            "high": None if ratio.high is None else _index(ratio.high),
            "unit": "score",
        }
    )


def _index(ratio: float) -> float:
    return 1 - 2 / (1 + ratio)  # (F - R) / (F + R) of F / R, also where that is infinite


def _places() -> Iterable[tuple[str, Callable[[str], Samples]]]:
    """Suffix of a metric, and whose samples each of its ingredients is taken on."""
    yield "", lambda name: OWN[name]
    yield ".on_model", lambda name: "on_model"
    yield ".on_reference", lambda name: "on_reference"


def _curve(name: str, group: str, rows: Rows) -> Series:
    """A number by token position: the mean over the answers that reach a bin, with its interval."""
    curves = [(sample, curve[name]) for sample, detail in rows.details.items() for curve in detail.get(OWN[name], ())]
    longest = max((len(curve) for _, curve in curves), default=0)
    points = []
    for k in range(longest):
        reaching = [(sample, curve[k]) for sample, curve in curves if k < len(curve)]
        points.append(stats.mean([value for _, value in reaching], [sample for sample, _ in reaching], _unit(name)))
    label, unit = LABELS[name]
    return series_of(
        name,
        points,
        group=group,
        x=[(first + last) / 2 for first, last in position_bins((1 << longest) - 1)],
        x_label="token position (mean of the bins 1, 2-3, 4-7, ...)",
        x_unit="tokens",
        y_label=label,
        y_unit=unit,
    )


def _unit(name: str) -> str:
    return "fraction" if name == "dropped_mass" else "nats"


def _mean(values: Sequence[float]) -> float | None:
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None
