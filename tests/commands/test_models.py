"""`copsd-bench models`: what it prints about the built-in model and about a bad name."""

import subprocess
import sys
from pathlib import Path

import pytest

from copsd_bench.errors import ExitCode
from copsd_bench.models.resolve import ResolvedModel
from tests.models.tiny import save_adapter, save_model


def models(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "copsd_bench.cli", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_info_says_what_the_built_in_is(smollm2: ResolvedModel) -> None:
    done = models("info")
    assert done.returncode == 0, done.stderr
    for fact in (smollm2.weights_digest, smollm2.template_digest, "134.5 M", "8192", "49152", "<|im_end|> (2)"):
        assert fact in done.stdout


def test_info_describes_an_adapter_and_a_model_without_tokenizer(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    done = models("info", str(base), "--adapter", str(save_adapter(tmp_path / "adapter", base)))
    assert done.returncode == 0, done.stderr
    assert "LoRA r=2" in done.stdout
    assert "it has no chat template" in done.stdout


def test_list_shows_the_built_in_as_ready(smollm2: ResolvedModel) -> None:
    done = models("list")
    assert "smollm2-135m" in done.stdout
    assert "ready" in done.stdout


def test_an_unknown_model_is_one_sentence_with_the_nearest_name() -> None:
    done = models("info", "smollm-135m")
    assert done.returncode == ExitCode.MODEL
    assert "did you mean 'smollm2-135m'" in done.stderr
    assert "Traceback" not in done.stderr
