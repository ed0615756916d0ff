"""Hub ids, with the hub's real client against a hub on this machine, and against none."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copsd_bench.errors import ExitCode
from copsd_bench.models.digest import weights_digest
from tests.models.hub_server import COMMIT, serve
from tests.models.tiny import save_model


def fetch(endpoint: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`copsd-bench models fetch own/model` with a hub and a hub cache of its own."""
    command = [sys.executable, "-m", "copsd_bench.cli", "models", "fetch", "own/model"]
    unset = {"HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HTTP_PROXY", "http_proxy"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "COPSD_CACHE_DIR": str(home / "copsd"), "NO_PROXY": "*"}
    return subprocess.run(command, env=inherited | hub | env, capture_output=True, text=True, timeout=60, check=False)


def assert_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == ExitCode.MODEL, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_model_is_downloaded_once_and_then_needs_no_hub(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"pickle")
    digest = weights_digest(model)
    home = tmp_path / "home"
    with serve(model) as endpoint:
        first = fetch(endpoint, home)
    assert first.returncode == 0, first.stderr
    assert COMMIT in first.stdout
    assert digest[:16] in first.stdout
    assert not list(home.rglob("*.bin")), "pickled weights must not even be downloaded"
    blob = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert list(home.rglob(f"blobs/{blob}"))

    offline = fetch(endpoint, home)  # the server is gone
    assert (offline.returncode, offline.stdout) == (0, first.stdout), offline.stderr
    asked_for = fetch(endpoint, home, HF_HUB_OFFLINE="1")
    assert (asked_for.returncode, asked_for.stdout) == (0, first.stdout), asked_for.stderr


def test_a_repository_with_pickles_only_is_refused(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with serve(model) as endpoint:
        assert_one_sentence(fetch(endpoint, tmp_path / "home"), "only safetensors are loaded")


@pytest.mark.parametrize(
    ("refusal", "parts"),
    [
        ((403, "GatedRepo"), ("is gated", "accept its terms at", "/own/model", "HF_TOKEN")),
        ((401, "GatedRepo"), ("is gated", "HF_TOKEN")),
        ((404, "RepoNotFound"), ("has no model own/model, or it is private",)),
        ((503, ""), ("own/model", "HTTP 503")),
    ],
)
def test_refusals_name_the_token_and_the_terms(tmp_path: Path, refusal: tuple[int, str], parts: tuple[str]) -> None:
    with serve(tmp_path, refuse=refusal) as endpoint:
        start = time.monotonic()
        assert_one_sentence(fetch(endpoint, tmp_path / "home"), *parts)
        assert time.monotonic() - start < 30


def test_no_hub_fails_within_seconds_and_says_what_to_do(tmp_path: Path) -> None:
    start = time.monotonic()
    done = fetch("http://no-such-host.invalid", tmp_path)
    assert time.monotonic() - start < 10
    assert_one_sentence(done, "is not in the hub cache", "pass its folder as --model", "HF_HOME")
