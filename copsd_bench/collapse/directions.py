"""Do refusing and answering at length share a direction inside the model, and did the model move along it?

COPSD (arXiv 2606.03089) explains collapse by a coupling of a safety axis with an expressiveness axis, and never
measures it. The statistics here are this project's own, not that paper's:

- the refusal direction of a layer is the mean residual stream at the last prompt token, harmful minus harmless prompts
  (harmless are the benign twins where there are any, else the general prompts); difference of means as in Arditi et al.
  (2024, arXiv 2406.11717);
- the verbosity direction is the mean over prompts of: longest minus shortest answer to the same prompt, each averaged
  over the answer tokens that both have, so that neither the topic nor the position makes the difference;
- `direction_cosine` is the cosine between the two. Two directions at random have one of about 1 / sqrt(hidden size),
  and estimation noise shrinks it towards 0. Its interval is a delete-one-prompt jackknife's;
- `refusal_drift` and `verbosity_drift` are the model's states minus its reference's on the same tokens, projected on the
  direction in units of the distance it spans: 0 is no drift, 1 is as far as harmful prompts lie from harmless ones, or
  long answers from short ones. The distance is corrected for estimation noise, and a layer where nothing of it is left
  has no drift. The interval is Student's over prompts, with the direction held fixed.

Both directions are the reference's.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from copsd_bench.collapse.rows import Rows
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
        squared: its squared length, [L], minus what estimation noise adds on average; NaN where nothing is left or it
            rests on one item.
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
    squared = (vector * vector).sum(-1) - sum(noise)
    return Direction(vector, np.where(squared > 0, squared, np.nan))


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
    found = {k: States.unpack(detail[DETAIL]) for k, detail in rows.details.items() if detail.get(DETAIL)}
    harmless = "benign" if "benign" in {group[k] for k in found} else "general"
    classes = {
        k: "harmful" if group[k] == "harmful" else "harmless" if group[k] == harmless else "" for k in found
    }  # fmt: skip
    states, kinds = list(found.values()), list(classes.values())
    if "harmful" not in kinds or "harmless" not in kinds or all(s.length_change is None for s in states):
        return []
    refusal, verbosity = _refusal(states, kinds), _verbosity(states)
    moved = (("prompt_change", refusal), ("answer_change", verbosity))
    drifts = [drift(np.stack([getattr(s, name) for s in states]), direction) for name, direction in moved]
    points = {
        "direction_cosine": _cosines(states, kinds),
        "refusal_drift": _means(drifts[0]),
        "verbosity_drift": _means(drifts[1]),
    }
    return [_series(name, states[0].layers, estimates) for name, estimates in points.items()]


LABELS = {
    "direction_cosine": ("cosine of refusal and verbosity direction", "cosine"),
    "refusal_drift": ("drift along the refusal direction", "harmful-harmless distances"),
    "verbosity_drift": ("drift along the verbosity direction", "long-short distances"),
}


def _refusal(states: Sequence[States], kinds: Sequence[str]) -> Direction:
    harmful, harmless = (
        np.stack([s.prompt for s, kind in zip(states, kinds, strict=True) if kind == wanted])
        for wanted in ("harmful", "harmless")
    )
    return difference_of_means(harmful, harmless)


def _verbosity(states: Sequence[States]) -> Direction:
    return difference_of_means(np.stack([s.length_change for s in states if s.length_change is not None]))


def _cosines(states: Sequence[States], kinds: Sequence[str]) -> list[Estimate]:
    def of(kept: Sequence[int]) -> Floats:
        some = [states[i] for i in kept]
        return cosine(_refusal(some, [kinds[i] for i in kept]).vector, _verbosity(some).vector)

    n = len(states)
    value = of(range(n))
    used = [sum(kind == wanted for kind in kinds) for wanted in ("harmful", "harmless")]
    if min(*used, sum(s.length_change is not None for s in states)) < 2:  # leaving one out would leave none
        return [Estimate(value=_number(v), n=n, method="jackknife", unit="score") for v in value]
    without = np.stack([of([j for j in range(n) if j != i]) for i in range(n)])
    stderr = ((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)) ** 0.5
    return [
        Estimate(
            value=_number(v), n=n, stderr=_number(e), low=_number(max(v - 1.96 * e, -1.0)),
            high=_number(min(v + 1.96 * e, 1.0)), method="jackknife", unit="score",
        )
        for v, e in zip(value, stderr, strict=True)
    ]  # fmt: skip


def _means(values: Floats) -> list[Estimate]:
    """Over prompts, of [N, L]; a layer without a direction has no value."""
    return [stats.mean([_number(v) for v in column]) for column in values.T]


def _series(name: str, layers: Sequence[int], points: Sequence[Estimate]) -> Series:
    label, unit = LABELS[name]
    return Series(
        name=name,
        x=[float(layer) for layer in layers],
        x_label="decoder block (its input)",
        y=[point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        n=[point.n for point in points],
        y_label=label,
        y_unit=unit,
    )


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
