"""Synthetic records of the suite `collapse`: every number a page can show, drawn from a few knobs with a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import numpy as np

from copsd_bench.records.panel import panel
from copsd_bench.records.schema import (
    ConstitutionInfo,
    Estimate,
    Group,
    ModelInfo,
    ReferenceInfo,
    RunRecord,
    SampleRow,
    Series,
    TaskRecord,
)
from tests.records import factory
from tests.records.factory import Behaviour

MODEL = ModelInfo(
    name="tiny", weights_digest="b" * 64, template_digest="c" * 64, engine="transformers", dtype="float32"
)
REFERENCE = ReferenceInfo(name="base", model=MODEL)
GROUPS: dict[Group, int] = {"harmful": 16, "benign": 16, "general": 16}
ROLLOUTS, BINS, LAYERS = 4, 7, 24


@dataclass(frozen=True)
class Student:
    """A tuned model: how it answers, and how far it moved.

    Attributes:
        kl: nats per token of KL(model‖reference); the other direction is `skew` times that.
        diversity: 1 − Self-BLEU of its rollouts; the reference has 0.55.
        win_help, win_harmless: pairwise win rates.
    """

    name: str
    behaviour: Behaviour
    kl: float
    skew: float
    diversity: float
    win_help: float
    win_harmless: float


COLLAPSED = Student(
    "opsd-const",
    factory.like(length=0.3, entropy=0.6, refusal={"harmful": 0.9, "benign": 0.4, "general": 0.05}),
    0.35,
    2.4,
    0.38,
    0.2,
    0.66,
)
HEALTHY = Student(
    "copsd", factory.like(refusal={"harmful": 0.85, "benign": 0.06, "general": 0.02}), 0.22, 1.05, 0.58, 0.72, 0.7
)


def collapse_record(student: Student) -> RunRecord:
    """A record of all tasks of the suite for a student against its base."""
    base = factory.rows(factory.BASE, GROUPS, ROLLOUTS, run_seed=0)
    rows = factory.rows(student.behaviour, GROUPS, ROLLOUTS, run_seed=1)
    tasks = [
        _task("length_collapse", rows, base, {"length_ratio": _ratio(rows, base)}),
        _task("refusal_collapse", rows, base, {"balance": _number(0.5, 0.1)}),
        _task("kl_direction", rows, base, _divergence(student), _curves(student)),
        _task("diversity_collapse", rows, base, _diversity(student)),
        _task("leakage", rows, base, _leakage(student), _layers(student)),
        _task("pairwise_help", rows, base, {"win_rate": _number(student.win_help, 0.07)}),
        _task("pairwise_harmless", rows, base, {"win_rate": _number(student.win_harmless, 0.07)}),
    ]
    model = MODEL.model_copy(update={"adapter": student.name, "adapter_digest": student.name.encode().hex()})
    return factory.record(tasks=tasks, model=model, suite="collapse", constitution=ConstitutionInfo(), epochs=ROLLOUTS)


def _task(
    name: str, rows: list[SampleRow], base: list[SampleRow], metrics: dict[str, Estimate], series: Sequence[Series] = ()
) -> TaskRecord:
    return factory.task(
        name,
        rows,
        metrics=metrics,
        primary=next(iter(metrics)),
        reference=REFERENCE,
        reference_samples=base,
        series=list(series),
        panel=panel(rows),
    )


def _number(value: float, half: float, unit: str = "fraction") -> Estimate:
    return Estimate(value=value, n=48, stderr=half / 2, low=value - half, high=value + half, method="t", unit=unit)


def _ratio(rows: list[SampleRow], base: list[SampleRow]) -> Estimate:
    means = [np.mean([row.output_tokens or 0 for row in side]) for side in (rows, base)]
    return _number(float(means[0] / means[1]), 0.08, "ratio")


def _divergence(student: Student) -> dict[str, Estimate]:
    other = student.kl * student.skew
    found = {
        "kl_model_reference.on_model": _number(student.kl, 0.03, "nats"),
        "kl_model_reference.on_reference": _number(student.kl * 1.2, 0.04, "nats"),
        "kl_reference_model.on_model": _number(other, 0.05, "nats"),
        "kl_reference_model.on_reference": _number(other * 1.3, 0.06, "nats"),
        "contraction": _number(exp(student.behaviour.entropy - factory.BASE.entropy), 0.06, "ratio"),
        "mode_seeking": _number((student.skew - 1) / (student.skew + 1), 0.05, "score"),
        "dropped_mass": _number(0.04 * student.skew, 0.01),
    }
    return found


def _curves(student: Student) -> list[Series]:
    x = 1.5 * 2.0 ** np.arange(BINS) - 0.5  # means of the bins 1, 2-3, 4-7 ...
    where = "token position (mean of the bins 1, 2-3, 4-7, ...)"
    levels = {
        "kl_model_reference": student.kl,
        "kl_reference_model": student.kl * student.skew,
        "entropy": student.behaviour.entropy,
        "reference_entropy": factory.BASE.entropy,
    }
    found = []
    for i, (name, level) in enumerate(levels.items()):
        for j, group in enumerate(["", "harmful", "benign", "general"]):
            noise = np.random.default_rng(10 * i + j).normal(0, 0.06, BINS)
            shape = 1 + 2.2 * np.exp(-x / 9) if name.startswith("kl") else 1 - 0.2 * np.exp(-x / 20)
            y = level * (1.15 - 0.15 * j) * shape * (1 + noise)
            wide = 0.1 * level * np.sqrt(1 + x / 16)
            label = f"{name}, on somebody's samples"
            found.append(_series(name, group, x, y, wide, where, "tokens", label, "nats per token"))
    return found


def _layers(student: Student) -> list[Series]:
    x = np.arange(LAYERS)
    rise = 1 / (1 + np.exp(-(x - 12) / 3))
    curves = {
        "direction_cosine": (-0.5 * rise, "cosine of refusal and verbosity direction", "cosine"),
        "refusal_drift": (student.kl * 3 * rise, "drift along the refusal direction", "harmful-harmless distances"),
        "verbosity_drift": (-student.skew * rise, "drift along the verbosity direction", "long-short distances"),
    }
    half = np.full(LAYERS, 0.08)
    return [
        _series(name, "", x, y, half, "decoder block (its input)", "", label, unit)
        for name, (y, label, unit) in curves.items()
    ]


def _series(
    name: str,
    group: str,
    x: "np.ndarray",
    y: "np.ndarray",
    half: "np.ndarray",
    x_label: str,
    x_unit: str,
    y_label: str,
    y_unit: str,
) -> Series:
    return Series(
        name=name,
        group=group,
        x=x.tolist(),
        x_label=x_label,
        x_unit=x_unit,
        y=y.tolist(),
        low=(y - half).tolist(),
        high=(y + half).tolist(),
        n=[48] * len(x),
        y_label=y_label,
        y_unit=y_unit,
    )


def _diversity(student: Student) -> dict[str, Estimate]:
    return {
        "diversity": _number(student.diversity, 0.04),
        "reference_diversity": _number(0.55, 0.04),
        "diversity_ratio": _number(student.diversity / 0.55, 0.08, "ratio"),
    }


def _leakage(student: Student) -> dict[str, Estimate]:
    return {
        "leakage_correlation": _number(-0.3 * student.skew, 0.15, "correlation"),
        "leakage_slope": _number(-0.2 * student.skew, 0.1, "score"),
    }
