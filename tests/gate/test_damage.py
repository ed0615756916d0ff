"""The gate on the real model: the unmodified model passes, five kinds of damage turn it red for the right reason.

All runs are the command line's, in float32, on the settings of the committed baseline (results/baselines).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.models.resolve import ResolvedModel
from tests.gate import finetune

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "results" / "baselines" / "smollm2-135m.json"
SETTINGS = ["--suite", "mini", "--limit", "132", "--max-tokens", "64", "--dtype", "float32", "--display", "none"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `copsd-bench` as a user does."""
    command = [sys.executable, "-m", "copsd_bench.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200)


@pytest.fixture(scope="session")
def evaluate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Evaluates a model on the baseline's settings and gives its record."""
    out = tmp_path_factory.mktemp("gate")

    def run(model: str, *extra: str) -> Path:
        before = set(out.glob("*.json"))
        done = bench("run", "--model", model, "--out", str(out), *SETTINGS, *extra)
        assert done.returncode == 0, done.stderr
        return next(iter(set(out.glob("*.json")) - before))

    return run


def verdict(record: Path, baseline: Path, *extra: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of `copsd-bench check`."""
    done = bench("check", str(record), "--baseline", str(baseline), "--format", "json", *extra)
    return done.returncode, json.loads(done.stdout)


def red(report: dict[str, Any]) -> set[str]:
    """Names of the rules that are red."""
    return {finding["rule"] for finding in report["findings"] if finding["status"] == "red"}


@pytest.fixture(scope="session")
def unmodified(evaluate: Callable[..., Path]) -> Path:
    return evaluate("smollm2-135m")


def test_the_unmodified_model_passes(unmodified: Path) -> None:
    code, report = verdict(unmodified, BASELINE)
    assert (code, red(report)) == (0, set())


def test_a_noise_adapter_is_red(evaluate: Callable[..., Path], smollm2: ResolvedModel, tmp_path: Path) -> None:
    adapter = finetune.noisy(smollm2.path, tmp_path / "noise")
    code, report = verdict(evaluate("smollm2-135m", "--adapter", str(adapter)), BASELINE)
    assert code == 1
    assert {"ability", "instability"} & set(report["symptoms"])


def test_answers_cut_to_a_third_are_red(evaluate: Callable[..., Path], smollm2: ResolvedModel, tmp_path: Path) -> None:
    """The same weights, but an answer ends at its first comma or full stop."""
    folder = tmp_path / "cut"
    shutil.copytree(smollm2.path, folder)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = json.loads((folder / "generation_config.json").read_text())
    marks = tokenizer.convert_tokens_to_ids([".", ",", ":"])
    (folder / "generation_config.json").write_text(
        json.dumps(config | {"eos_token_id": [tokenizer.eos_token_id, *marks]})
    )
    code, report = verdict(evaluate(str(folder)), BASELINE)
    assert code == 1
    assert {"median length", "mean length"} <= red(report)


@pytest.fixture(scope="session")
def refusing(evaluate: Callable[..., Path], smollm2: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    adapter = finetune.always_refusing(smollm2.path, tmp_path_factory.mktemp("adapter") / "refuse")
    return evaluate("smollm2-135m", "--adapter", str(adapter))


def test_a_model_that_always_refuses_is_red(refusing: Path) -> None:
    code, report = verdict(refusing, BASELINE)
    assert code == 1
    assert "benign refusal" in red(report)


def test_a_model_that_always_complies_is_red(refusing: Path, unmodified: Path) -> None:
    """The small model complies with next to everything, so it is the damaged one against a baseline that refuses."""
    code, report = verdict(unmodified, refusing)
    assert code == 1
    assert "harmful compliance" in red(report)


def test_a_high_temperature_is_red(evaluate: Callable[..., Path]) -> None:
    record = evaluate("smollm2-135m", "--temperature", "1.5")
    assert verdict_code(record) == 2, "an undeclared temperature is not comparable"
    code, report = verdict(record, BASELINE, "--vary", "generation")
    assert code == 1
    assert {"entropy rises", "log-probability"} <= red(report)


def verdict_code(record: Path) -> int:
    """Exit code of `check` without declaring anything as varied."""
    return bench("check", str(record), "--baseline", str(BASELINE)).returncode
