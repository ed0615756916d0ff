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
