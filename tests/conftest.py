"""Fixtures every part shares: the real built-in model and the real benchmark data."""

import os
from pathlib import Path

import pytest

from copsd_bench.models.resolve import ResolvedModel, resolve_model


@pytest.fixture(scope="session")
def smollm2() -> ResolvedModel:
    """The built-in model in the user's own cache, so that it is fetched once a machine."""
    return resolve_model("smollm2-135m")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The mirror of real benchmark files; tests on real data run wherever it is named."""
    value = os.environ.get("COPSD_DATA_DIR")
    if not value:
        # The data stays with its owners and is not committed: a checkout alone has none of it.
        pytest.skip("COPSD_DATA_DIR is not set")
    folder = Path(value).resolve()
    assert folder.is_dir(), f"COPSD_DATA_DIR names {value}, which is no folder"
    return folder


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server answers, and the hub's cache is empty, also where this machine has both.

    The hub's client reads its environment when it is imported, which may be long before a test sets it.
    """
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("copsd_bench.hub.answers", lambda url: False)
    monkeypatch.setattr("copsd_bench.net.answers", lambda url: False)
