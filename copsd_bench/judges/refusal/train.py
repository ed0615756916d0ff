"""Train the refusal judge: `python -m copsd_bench.judges.refusal.train [FOLDER] [--out FILE]`.

FOLDER holds people's labels in XSTest's published format (default: `$COPSD_DATA_DIR/XSTest/human_annotated`). To them
come the labelled cases written for this project (`copsd_bench/data/refusal_training_cases.jsonl`). The weights hold one
number for each generic feature, and no text of a benchmark or of a model. `copsd-bench judge measure` cross-validates.
"""

import argparse
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from copsd_bench.judges.agreement import HumanLabels, default_folder, read_folder
from copsd_bench.judges.refusal.features import NAMES, features
from copsd_bench.judges.refusal.judge import WEIGHTS, LinearModel, RefusalWeights

CASES = WEIGHTS.with_name("refusal_training_cases.jsonl")
RIDGE = 5.0
"""Strength of the penalty `RIDGE / 2 * |weights|²`."""
CASE_WEIGHT = 2.0
"""Each of the project's own cases counts as much as so many rows of the benchmark."""


def feature_matrix(labels: HumanLabels) -> np.ndarray:
    """Features of every row, shape [B, len(NAMES)]."""
    return features(labels.prompts, labels.answers)


@cache
def own_cases() -> tuple[HumanLabels, np.ndarray]:
    """The labelled cases written for this project, and their features."""
    rows = [json.loads(line) for line in CASES.read_text(encoding="utf-8").splitlines()]
    cases = HumanLabels(
        model="own cases",
        sha256="",
        prompts=tuple(row["prompt"] for row in rows),
        answers=tuple(row["completion"] for row in rows),
        labels=tuple(row["label"] for row in rows),
    )
    return cases, feature_matrix(cases)


def fit_logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float = RIDGE) -> LinearModel:
    """Ridge logistic regression by Newton's method; the bias is not penalised.

    Args:
        x: features, shape [B, F].
        y: 0 or 1, shape [B].
        weight: how much each row counts, shape [B].
        ridge: strength of the penalty.
    """
    design = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-6
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (weight * (p - y)) + penalty * beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if np.abs(step).max() < 1e-8:
            break
    return LinearModel(float(beta[0]), beta[1:])


def fit(x: np.ndarray, refused: np.ndarray, full: np.ndarray) -> RefusalWeights:
    """Weights from people's labels and the project's own cases.

    Args:
        x: features of rows that people labelled, shape [B, len(NAMES)]; B may be 0.
        refused: whether people saw a refusal, bool, shape [B].
        full: whether people saw a full refusal, bool, shape [B].
    """
    cases, cases_x = own_cases()
    x = np.concatenate([x, cases_x])
    weight = np.concatenate([np.ones(len(refused)), np.full(len(cases_x), CASE_WEIGHT)])
    refused = np.concatenate([refused, cases.refused])
    full = np.concatenate([full, cases.full])
    return RefusalWeights(
        refusal=fit_logistic(x, refused, weight),
        full=fit_logistic(x[refused], full[refused], weight[refused]),
        trained_on={},
        digest="",
    )


def train(sources: Sequence[HumanLabels]) -> dict[str, object]:
    """The content of the weights file, from all of people's labels."""
    x = np.concatenate([feature_matrix(source) for source in sources])
    refused = np.concatenate([source.refused for source in sources])
    full = np.concatenate([source.full for source in sources])
    weights = fit(x, refused, full)
    models = (weights.refusal, weights.full)
    return {
        "about": "Refusal judge: log-odds a feature adds to (refusal, full rather than partial refusal).",
        "trained_on": {source.model: source.sha256 for source in sources},
        "ridge": RIDGE,
        "case_weight": CASE_WEIGHT,
        "bias": [round(model.bias, 4) for model in models],
        "weights": {name: [round(float(model.weights[i]), 4) for model in models] for i, name in enumerate(NAMES)},
    }


def main() -> None:
    """Train on a folder and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of CSV files with people's labels")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    sources = read_folder(options.folder or default_folder())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(train(sources), indent=1) + "\n", encoding="utf-8")
    names = ", ".join(source.model for source in sources)
    print(f"Wrote {options.out}: {len(NAMES)} features, trained on {names} and {len(own_cases()[1])} own cases.")


if __name__ == "__main__":
    main()
