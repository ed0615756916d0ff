"""Do refusing and answering at length share a direction inside the model, and did the model move along it?

COPSD (arXiv 2606.03089) explains collapse by a coupling of a safety axis with an expressiveness axis, and never
measures it. The statistics here are this project's own, not that paper's:

- the refusal direction of a layer is the mean residual stream at the last prompt token, harmful minus harmless prompts
  (harmless are the benign twins where there are any, else the general prompts); difference of means as in Arditi et al.
  (2024, arXiv 2406.11717);
- the verbosity direction is the mean over prompts of: longest minus shortest answer to the same prompt, each averaged
  over the answer tokens that both have, so that neither the topic nor the position makes the difference;
- `direction_cosine` is the cosine between the two. Two directions at random have one of about 1 / sqrt(hidden size),
  and estimation noise shrinks it towards 0;
- `refusal_drift` and `verbosity_drift` are the model's mean state minus its reference's on the same tokens, projected
  on the direction and divided by its length: 0 is no drift, 1 is as far as harmful prompts lie from harmless ones, or
  long answers from short ones.

Both directions are the reference's. Intervals are bootstrap percentiles over prompts, within each prompt class.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from copsd_bench.collapse.rows import Rows
from copsd_bench.records.schema import Series

Floats = NDArray[np.float32]
RESAMPLES = 500
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


def difference_of_means(positive: Floats, negative: Floats) -> Floats:
    """Mean of [N, L, H] minus mean of [M, L, H]: a direction a layer, [L, H]."""
    return np.asarray(positive.mean(axis=0) - negative.mean(axis=0))


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine a layer, [L], of [L, H] and [L, H]; NaN where one is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)))


def drift(change: Floats, direction: Floats) -> Floats:
    """Projection of a mean change [L, H] on a direction [L, H] in units of the direction's length, [L]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((change * direction).sum(-1) / (direction * direction).sum(-1))


def layer_series(rows: Rows) -> list[Series]:
    """The three statistics by layer; empty where a class of prompts is missing or no answers differ in length.

    Args:
        rows: `details` hold packed `States` under `DETAIL`; a sample without them is left out.
    """
    group = {row.id: row.group for row in rows.model}
    found = {k: States.unpack(d[DETAIL]) for k, d in rows.details.items() if d.get(DETAIL)}
    harmful = [states for k, states in found.items() if group[k] == "harmful"]
    harmless = [s for k, s in found.items() if group[k] == "benign"] or [
        s for k, s in found.items() if group[k] == "general"
    ]
    lengths = [states for states in found.values() if states.length_change is not None]
    if not harmful or not harmless or not lengths:
        return []
    classes: dict[str, Sequence[States]] = {
        "harmful": harmful, "harmless": harmless, "lengths": lengths, "all": list(found.values())
    }  # fmt: skip
    curves: dict[str, tuple[str, str, Statistic]] = {
        "direction_cosine": ("cosine of refusal and verbosity direction", "cosine", _cosine),
        "refusal_drift": ("drift along the refusal direction", "harmful-harmless distances", _refusal_drift),
        "verbosity_drift": ("drift along the verbosity direction", "long-short distances", _verbosity_drift),
    }
    draws = list(_resampled(classes))
    series = []
    for name, (label, unit, statistic) in curves.items():
        spread = np.stack([statistic(draw) for draw in draws])
        low, high = (np.nanquantile(spread, q, axis=0) for q in (0.025, 0.975))
        series.append(
            Series(
                name=name,
                x=[float(layer) for layer in lengths[0].layers],
                x_label="decoder block (its input)",
                y=_numbers(statistic(classes)),
                low=_numbers(low),
                high=_numbers(high),
                n=[len(lengths) if name == "direction_cosine" else len(found)] * len(lengths[0].layers),
                y_label=label,
                y_unit=unit,
            )
        )
    return series


Classes = Mapping[str, Sequence[States]]
Statistic = Callable[[Classes], Floats]


def _refusal(classes: Classes) -> Floats:
    harmful, harmless = (np.stack([s.prompt for s in classes[name]]) for name in ("harmful", "harmless"))
    return difference_of_means(harmful, harmless)


def _verbosity(classes: Classes) -> Floats:
    return np.asarray(
        np.stack([s.length_change for s in classes["lengths"] if s.length_change is not None]).mean(axis=0)
    )


def _cosine(classes: Classes) -> Floats:
    return cosine(_refusal(classes), _verbosity(classes))


def _refusal_drift(classes: Classes) -> Floats:
    return drift(np.stack([s.prompt_change for s in classes["all"]]).mean(axis=0), _refusal(classes))


def _verbosity_drift(classes: Classes) -> Floats:
    return drift(np.stack([s.answer_change for s in classes["all"]]).mean(axis=0), _verbosity(classes))


def _resampled(classes: Classes) -> "Sequence[Classes]":
    rng = np.random.default_rng(0)
    return [
        {name: [members[i] for i in rng.integers(len(members), size=len(members))] for name, members in classes.items()}
        for _ in range(RESAMPLES)
    ]


def _numbers(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
