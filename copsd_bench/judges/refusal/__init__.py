"""The offline refusal judge: phrase families, features, a linear model, and its training."""

from copsd_bench.judges.refusal.judge import LABELS, RefusalJudge, RefusalWeights, load_weights

__all__ = ["LABELS", "RefusalJudge", "RefusalWeights", "load_weights"]
