"""Whether an adapter fits is decided by tensor shapes, whatever base its config names."""

import json
import shutil
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.adapter import check_adapter
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from tests.models.tiny import save_adapter, save_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapter"), base)


def test_a_moved_base_still_fits(base: Path, adapter: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(base, tmp_path / "moved"))
    check_adapter(adapter, moved)


@pytest.mark.parametrize(("hidden", "layers"), [(32, 2), (16, 1)], ids=["wider", "fewer layers"])
def test_another_base_is_refused(adapter: Path, tmp_path: Path, hidden: int, layers: int) -> None:
    other = save_model(tmp_path / "other", hidden=hidden, layers=layers)
    with pytest.raises(CopsdError, match="adapter of another base") as caught:
        check_adapter(adapter, other)
    assert caught.value.code == ExitCode.MODEL


def test_the_real_model_refuses_a_tiny_models_adapter(smollm2: ResolvedModel, adapter: Path) -> None:
    with pytest.raises(CopsdError, match="adapter of another base"):
        resolve_model("smollm2-135m", adapter=adapter)


def test_a_tied_head_that_is_not_stored_can_carry_an_adapter(tmp_path: Path) -> None:
    tied = save_model(tmp_path / "tied", tied=True)
    adapter = save_adapter(tmp_path / "adapter", tied, targets=["lm_head", "embed_tokens", "q_proj"])
    check_adapter(adapter, tied)


def break_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def prompt_tuning(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "PROMPT_TUNING"}))


def cut_weights(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def pickle_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "There is no adapter folder"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "has no adapter_config.json"),
        (break_config, "not valid JSON"),
        (prompt_tuning, "PROMPT_TUNING adapter; only LORA"),
        (cut_weights, "is damaged"),
        (pickle_weights, "only adapter_model.safetensors is loaded"),
    ],
)
def test_bad_adapter_folders_get_one_sentence(base: Path, adapter: Path, tmp_path: Path, damage, sentence) -> None:
    broken = Path(shutil.copytree(adapter, tmp_path / "broken"))
    damage(broken)
    with pytest.raises(CopsdError, match=sentence) as caught:
        check_adapter(broken, base)
    assert caught.value.code == ExitCode.MODEL
    assert "\n" not in str(caught.value)
