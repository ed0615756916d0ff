"""How numbers of records read: rates in per cent, tokens whole, nats with two digits."""

from copsd_bench.records.schema import Estimate, ModelInfo, RunRecord

MISSING = "–"


def number(value: float | None, unit: str, signed: bool = False) -> str:
    """A bare number in its unit's digits; `fraction` in per cent (without the sign %), `ratio` with two digits."""
    if value is None:
        return MISSING
    sign = "+" if signed else ""
    match unit:
        case "fraction":
            text = f"{100 * value:{sign}.1f}"
        case "tokens":
            text = f"{value:{sign}.0f}"
        case _:
            text = f"{value:{sign}.2f}"
    return text.replace("-", "−")


def suffix(unit: str) -> str:
    """What stands behind a number of this unit."""
    return {"fraction": " %", "nats": " nats", "tokens": " tok", "ratio": " ×"}.get(unit, "")


def with_error(estimate: Estimate) -> str:
    """`42.0 ± 5.1 %`: the value and half the width of its 95 % interval."""
    if estimate.value is None:
        return MISSING
    text = number(estimate.value, estimate.unit)
    if estimate.low is not None and estimate.high is not None:
        text += f" ± {number((estimate.high - estimate.low) / 2, estimate.unit)}"
    return text + suffix(estimate.unit)


def interval(estimate: Estimate, signed: bool = False) -> str:
    """`−3.1 [−6.0, −0.2]`: the value and its 95 % interval, without the unit."""
    value = number(estimate.value, estimate.unit, signed)
    if estimate.value is None or (estimate.low is None and estimate.high is None):
        return value
    bounds = (number(bound, estimate.unit, signed) for bound in (estimate.low, estimate.high))
    return f"{value} [{', '.join(bounds)}]"


def points(difference: Estimate | None, bounds: bool = False) -> str:
    """A difference of shares in whole percentage points, `−3 [−6, 0]` with its 95 % interval."""
    if difference is None or difference.value is None:
        return MISSING
    value, low, high = (
        MISSING if x is None else f"{100 * x:+.0f}".replace("-", "−")
        for x in (difference.value, difference.low, difference.high)
    )
    return f"{value} [{low}, {high}]" if bounds else value


def p_value(p: float | None) -> str:
    """A p-value with two significant digits, `<.001` below that."""
    if p is None:
        return MISSING
    return "<.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def model_name(model: ModelInfo) -> str:
    """Model and adapter."""
    return model.name if model.adapter is None else f"{model.name} + {model.adapter}"


def run_name(record: RunRecord) -> str:
    """Model, adapter, the constitution it saw, and how it responded if not directly."""
    mode = record.constitution.mode
    constitution = f"constitution {mode}" if mode != "none" else ""
    return " · ".join(filter(None, [model_name(record.model), constitution, respond_name(record)]))


def respond_name(record: RunRecord) -> str:
    """The arm that answered a run by reframing, without its digest; empty for direct answers."""
    return next((str(task.generation.get("respond", "")).rpartition("-")[0] for task in record.tasks), "")
