"""From a name to a model known by content; names that cannot be used get one sentence."""

import shutil
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.dtype import default_dtype
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from tests.models.tiny import save_adapter, save_model


def test_the_built_in_is_a_chat_model_in_safetensors(smollm2: ResolvedModel) -> None:
    assert (smollm2.path / "model.safetensors").is_file()
    assert smollm2.template_digest
    assert resolve_model("smollm2-135m") == smollm2


def test_a_copy_of_the_built_in_is_the_same_model(smollm2: ResolvedModel, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in smollm2.path.iterdir():
        (copy / file.name).symlink_to(file)
    resolved = resolve_model(str(copy))
    assert resolved.identity == smollm2.identity
    assert resolved.name != smollm2.name


def test_an_adapter_makes_another_identity_of_the_same_weights(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    plain = resolve_model(str(base))
    adapted = resolve_model(str(base), adapter=save_adapter(tmp_path / "adapter", base))
    assert adapted.weights_digest == plain.weights_digest
    assert adapted.identity != plain.identity


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("smolm2-135m", "did you mean 'smollm2-135m'"),
        ("./no-such-folder", "There is no model folder"),
        ("no/such/folder", "There is no model folder"),
    ],
)
def test_unknown_names(name: str, sentence: str) -> None:
    with pytest.raises(CopsdError, match=sentence) as caught:
        resolve_model(name)
    assert caught.value.code == ExitCode.MODEL


def test_a_revision_belongs_to_hub_ids(tmp_path: Path) -> None:
    with pytest.raises(CopsdError, match="--revision belongs to hub ids"):
        resolve_model(str(save_model(tmp_path / "model")), revision="main")


def test_an_adapter_folder_is_not_a_model(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", save_model(tmp_path / "base"))
    with pytest.raises(CopsdError, match=r"pass --model .* --adapter"):
        resolve_model(str(adapter))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (pickled, r"only pytorch_model\.bin; only safetensors are loaded"),
        (cut, "is damaged"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "config.json").unlink(), r"has no config\.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "holds no JSON object"),
    ],
)
def test_bad_model_folders_get_one_sentence(tmp_path: Path, damage, sentence: str) -> None:
    folder = Path(shutil.copytree(save_model(tmp_path / "good"), tmp_path / "bad"))
    damage(folder)
    with pytest.raises(CopsdError, match=sentence) as caught:
        resolve_model(str(folder))
    assert caught.value.code == ExitCode.MODEL
    assert "\n" not in str(caught.value)


def test_a_model_with_code_of_its_own_needs_leave(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "homemade", "auto_map": {"AutoModelForCausalLM": "m.M"}}')
    with pytest.raises(CopsdError, match="--trust-remote-code"):
        resolve_model(str(folder))
    assert resolve_model(str(folder), trust_remote_code=True).trust_remote_code


def test_dtype_follows_the_hardware() -> None:
    assert default_dtype("cpu") in ("bfloat16", "float32")
    assert default_dtype("mps") == "float32"
