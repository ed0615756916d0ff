"""Pairwise judgements against a reference: how often is the model's answer the better one?"""

from copsd_bench.collapse.rows import Rows, RowValue, Summary, rate_of, score
from copsd_bench.records.schema import Estimate, SampleRow

OUTCOMES = {"win": 1.0, "tie": 0.5, "lose": 0.0}


def summary(rows: Rows) -> Summary:
    """Win rate (wins and half the ties), the shares of wins, ties and losses, and how often both orders agreed."""
    metrics: dict[str, Estimate] = {}
    for suffix, part in rows.by_group():
        metrics[f"win_rate{suffix}"] = rate_of(part.model, score("win_rate"))
        metrics |= {f"{name}{suffix}": rate_of(part.model, _is(points)) for name, points in OUTCOMES.items()}
    metrics["consistent"] = rate_of(rows.model, score("consistent"))
    unscored = sum(row.scores["win_rate"] is None for row in rows.model)
    notes = [f"{unscored} of {len(rows.model)} comparisons got no verdict in both orders: unscored"] if unscored else []
    return Summary(metrics, notes=notes)


def _is(points: float) -> RowValue:
    def value(row: SampleRow) -> bool | None:
        rate = row.scores["win_rate"]
        return None if rate is None else rate == points

    return value
