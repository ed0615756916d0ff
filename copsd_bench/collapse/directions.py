"""Do refusing and answering at length share a direction inside the model, and did the model move along it?

COPSD (arXiv 2606.03089) explains collapse by a coupling of a safety axis with an expressiveness axis, and never
measures it. The statistics here are this project's own, not that paper's:

- the refusal direction of a layer is the mean residual stream at the last prompt token, harmful minus harmless prompts
  (a difference of means, as in Arditi et al. 2024, arXiv 2406.11717): over harmful prompts and their benign twins where
  there are twins, so that the topic cancels; else over all harmful and all benign (or general) prompts;
- the verbosity direction is the mean over prompts of: longest minus shortest answer to the same prompt, each averaged
  over the answer tokens that both have, so that neither the topic nor the position makes the difference;
- `direction_cosine` is the cosine between the two. Two directions at random have one of about 1 / sqrt(hidden size),
  and estimation noise shrinks it towards 0. Its interval is a delete-one jackknife's;
- `refusal_drift` and `verbosity_drift` are the model's states minus its reference's on the same tokens, projected on
  the direction in units of the distance it spans: 0 is no drift, 1 is as far as harmful prompts lie from harmless ones,
  or long answers from short ones. The distance is the observed one: noise lengthens it, so that a drift is rather too
  small, and a layer where the classes lie no further apart than noise alone would put them has none. The interval is
  Student's over prompts, with the direction held fixed.

In both intervals twins count as one item. Both directions are the reference's.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from copsd_bench.collapse.rows import Rows, series_of
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate, Series

Floats = NDArray[np.float32]
DETAIL = "states"
"""Key of a sample's packed `States` in `Rows.details`."""


@dataclass(frozen=True)
class States:
    """Residual streams of one prompt, [L, H] each, at the layers `layers`.

    Attributes:
        layers: indices of the decoder blocks at whose input they were read.
        prompt: the reference's, at the last prompt token.
        prompt_change: the model's minus that.
        length_change: the reference's, its longest minus its shortest answer; None where all are of one length.
        answer_change: the model's minus the reference's, over answers of the reference.
    """

    layers: list[int]
    prompt: Floats
    prompt_change: Floats
    length_change: Floats | None
    answer_change: Floats

    def pack(self) -> dict[str, Any]:
        """As JSON: vectors are little-endian float32 in base 64."""
        vectors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "layers"}
        packed = {
            k: None if v is None else base64.b64encode(v.astype("<f4").tobytes()).decode() for k, v in vectors.items()
        }
        return {"layers": self.layers, **packed}

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Self:
        """The inverse of `pack`."""
        count = len(packed["layers"])
        vectors = {
            name: None if text is None else np.frombuffer(base64.b64decode(text), "<f4").reshape(count, -1)
            for name, text in packed.items()
            if name != "layers"
        }
        return cls(layers=list(packed["layers"]), **vectors)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Direction:
    """A direction a layer.

    Attributes:
        vector: mean difference, [L, H].
        squared: its squared length, [L]; NaN where it is not above what estimation noise alone gives on average, or
            the direction rests on one item.
    """

    vector: Floats
    squared: Floats


def difference_of_means(positive: Floats, negative: Floats | None = None) -> Direction:
    """Mean of [N, L, H] minus mean of [M, L, H]; without the latter the first are differences already."""
    sides = [positive] if negative is None else [positive, negative]
    means = [side.mean(axis=0) for side in sides]
    vector = means[0] if negative is None else means[0] - means[1]
    # One item alone has no spread: its noise is not known, and NaN spreads from here.
    noise = [side.var(axis=0, ddof=1).sum(-1) / len(side) if len(side) > 1 else np.nan for side in sides]
    squared = (vector * vector).sum(-1)
    return Direction(vector, np.where(squared > sum(noise), squared, np.nan))


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine a layer, [L], of [L, H] and [L, H]; NaN where one is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)))


def drift(change: Floats, direction: Direction) -> Floats:
    """Changes [.., L, H] along a direction in units of the distance it spans, [.., L]."""
    return np.asarray((change * direction.vector).sum(-1) / direction.squared)


def layer_series(rows: Rows) -> list[Series]:
    """The three statistics by layer; empty where a class of prompts is missing or no answers differ in length.

    Args:
        rows: `details` hold packed `States` under `DETAIL`; a sample without them is left out.
    """
    group = {row.id: row.group for row in rows.model}
    twin = {row.id: row.tags.get("twin", "") for row in rows.model}
    states = {k: States.unpack(detail[DETAIL]) for k, detail in rows.details.items() if detail.get(DETAIL)}
    harmful = [k for k in states if group[k] == "harmful"]
    harmless = [k for k in states if group[k] == "benign"] or [k for k in states if group[k] == "general"]
    if not harmful or not harmless or all(s.length_change is None for s in states.values()):
        return []
    pairs = [(k, twin[k]) for k in harmful if twin[k] in harmless]
    items = {k: min(k, twin[k] or k) for k in states}
    contrast = Contrast(harmful, harmless, pairs)
    moved = (("prompt_change", contrast.refusal(states)), ("answer_change", verbosity(states)))
    drifts = [drift(np.stack([getattr(s, name) for s in states.values()]), direction) for name, direction in moved]
    points = {
        "direction_cosine": _cosines(states, contrast, items),
        "refusal_drift": _means(drifts[0], list(items.values())),
        "verbosity_drift": _means(drifts[1], list(items.values())),
    }
    layers = next(iter(states.values())).layers
    return [_series(name, layers, estimates) for name, estimates in points.items()]


@dataclass(frozen=True)
class Contrast:
    """Which prompts are set against which: ids of all harmful and harmless ones, and pairs of twins among them."""

    harmful: Sequence[str]
    harmless: Sequence[str]
    pairs: Sequence[tuple[str, str]]

    def refusal(self, states: Mapping[str, States]) -> Direction:
        """The refusal direction of these prompts; one that is not in `states` is left out."""
        if self.pairs:
            twins = [(states[a].prompt, states[b].prompt) for a, b in self.pairs if a in states and b in states]
            return difference_of_means(np.stack([a - b for a, b in twins]))
        sides = ([states[k].prompt for k in side if k in states] for side in (self.harmful, self.harmless))
        return difference_of_means(*map(np.stack, sides))


def verbosity(states: Mapping[str, States]) -> Direction:
    """The verbosity direction over prompts whose answers differ in length."""
    return difference_of_means(np.stack([s.length_change for s in states.values() if s.length_change is not None]))


LABELS = {
    "direction_cosine": ("cosine of refusal and verbosity direction", "cosine"),
    "refusal_drift": ("drift along the refusal direction", "harmful-harmless distances"),
    "verbosity_drift": ("drift along the verbosity direction", "long-short distances"),
}


def _cosines(states: Mapping[str, States], contrast: Contrast, items: Mapping[str, str]) -> list[Estimate]:
    def of(some: Mapping[str, States]) -> Floats:
        return cosine(contrast.refusal(some).vector, verbosity(some).vector)

    value, names = of(states), sorted(set(items.values()))
    counts = [len(contrast.pairs)] if contrast.pairs else [len(contrast.harmful), len(contrast.harmless)]
    counts.append(len({items[k] for k, s in states.items() if s.length_change is not None}))
    if min(counts) < 2:  # leaving one out would leave none
        return [Estimate(value=_number(v), n=len(states), method="jackknife", unit="score") for v in value]
    without = np.stack([of({k: s for k, s in states.items() if items[k] != name}) for name in names])
    share = (len(names) - 1) / len(names)
    stderr = (share * ((without - without.mean(axis=0)) ** 2).sum(axis=0)) ** 0.5
    return [
        Estimate(
            value=_number(v), n=len(states), stderr=_number(e), low=_number(max(v - 1.96 * e, -1.0)),
            high=_number(min(v + 1.96 * e, 1.0)), method="jackknife", unit="score",
        )
        for v, e in zip(value, stderr, strict=True)
    ]  # fmt: skip


def _means(values: Floats, items: Sequence[str]) -> list[Estimate]:
    """Over prompts, of [N, L]; a layer without a direction has no value."""
    return [stats.mean([_number(v) for v in column], items) for column in values.T]


def _series(name: str, layers: Sequence[int], points: Sequence[Estimate]) -> Series:
    label, unit = LABELS[name]
    return series_of(
        name,
        points,
        x=[float(layer) for layer in layers],
        x_label="decoder block (its input)",
        y_label=label,
        y_unit=unit,
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
