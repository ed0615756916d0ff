"""Train the refusal judge's linear models: `python -m copsd_bench.judges.train_refusal [FOLDER]`.

FOLDER holds people's labels in XSTest's published format (default: `$COPSD_DATA_DIR/XSTest/human_annotated`). The weights go to
`copsd_bench/data/refusal_weights.json`; they hold numbers for generic features and no text of any benchmark or model.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from copsd_bench.judges.agreement import HumanLabels, default_folder, read_folder
from copsd_bench.judges.refusal import WEIGHTS, LinearModel
from copsd_bench.judges.refusal_features import NAMES, features

RIDGE = 10.0
"""Strength of the L2 penalty `RIDGE / 2 * |weights|^2`, chosen by cross-validation over models and prompts (see `judge measure`)."""


def feature_matrix(labels: HumanLabels) -> np.ndarray:
    """Features of every row, shape [B, len(NAMES)]."""
    return np.stack([features(prompt, answer) for prompt, answer in zip(labels.prompts, labels.answers, strict=True)])


def fit_logistic(x: np.ndarray, y: np.ndarray, ridge: float = RIDGE) -> LinearModel:
    """Ridge logistic regression by Newton's method; the bias is not penalised.

    Args:
        x: features, shape [B, F].
        y: 0 or 1, shape [B].
        ridge: strength of the penalty.
    """
    design = np.hstack([np.ones((len(x), 1)), x.astype(np.float64)])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-6
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        gradient = design.T @ (p - y) + penalty * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if np.abs(step).max() < 1e-8:
            break
    return LinearModel(float(beta[0]), beta[1:])


def train(sources: Sequence[HumanLabels]) -> dict[str, object]:
    """The content of the weights file, from people's labels."""
    x = np.concatenate([feature_matrix(source) for source in sources])
    refused = np.concatenate([source.refused for source in sources])
    full = np.concatenate([source.full for source in sources])
    models = (fit_logistic(x, refused), fit_logistic(x[refused], full[refused]))
    return {
        "about": "Refusal judge: log-odds per feature of (refusal, full rather than partial); see train_refusal.py.",
        "trained_on": {source.model: source.sha256 for source in sources},
        "ridge": RIDGE,
        "bias": [round(model.bias, 4) for model in models],
        "weights": {name: [round(float(model.weights[i]), 4) for model in models] for i, name in enumerate(NAMES)},
    }


def main() -> None:
    """Train on a folder and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="CSV files with people's labels")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    weights = train(read_folder(options.folder or default_folder()))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(weights, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {options.out}: {len(NAMES)} features, trained on {', '.join(weights['trained_on'])}.")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
