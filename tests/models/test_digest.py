"""A digest is of content: paths and dates do not matter, every byte does."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from copsd_bench.models import digest
from copsd_bench.models.digest import (
    adapter_digest,
    chat_template,
    file_sha256,
    template_digest,
    tokenizer_digest,
    weights_digest,
)
from tests.models.tiny import save_adapter, save_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    return save_model(tmp_path / "model")


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_another_path_and_another_date_are_the_same_model(model: Path, tmp_path: Path) -> None:
    first = weights_digest(model)
    copy = Path(shutil.copytree(model, tmp_path / "elsewhere" / "copy"))
    assert weights_digest(copy) == first
    age(copy / "model.safetensors", 1000)
    assert weights_digest(copy) == first


def test_one_byte_makes_another_model_even_right_after_hashing(model: Path) -> None:
    first = weights_digest(model)
    flip_byte(model / "model.safetensors")
    assert weights_digest(model) != first


def test_one_byte_is_seen_when_the_old_date_is_put_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_RACY_NS", 0)  # so that the first hash is noted at once
    weights = model / "model.safetensors"
    stat = weights.stat()
    first = file_sha256(weights)
    time.sleep(0.02)
    flip_byte(weights)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_sha256(weights) != first


def test_a_noted_hash_saves_reading_the_file_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_RACY_NS", 0)
    first = file_sha256(model / "model.safetensors")
    monkeypatch.setattr(digest, "_hash", lambda *_: pytest.fail("hashed again"))
    assert file_sha256(model / "model.safetensors") == first


def test_a_damaged_note_is_ignored(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_RACY_NS", 0)
    first = file_sha256(model / "model.safetensors")
    notes = list((tmp_path / "cache" / "digests").iterdir())
    assert len(notes) == 1
    notes[0].write_text('{"stamp": ')
    assert file_sha256(model / "model.safetensors") == first


def test_the_config_counts_but_not_who_saved_it(model: Path) -> None:
    first = weights_digest(model)
    path = model / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"transformers_version": "0", "_name_or_path": "x"}))
    assert weights_digest(model) == first
    path.write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert weights_digest(model) != first


def test_the_hub_cache_names_files_by_their_own_sha256(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"weights")
    link = tmp_path / "snapshots" / "model.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)
    assert file_sha256(link) == "ab" * 32


def test_shards_count_in_any_order_and_all_must_be_there(model: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: torch.clone(tensors[name]) for name in part}, model / file)
    (model / "model.safetensors").unlink()

    def write_index(a: str, b: str) -> None:
        weight_map = dict.fromkeys(names[::2], a) | dict.fromkeys(names[1::2], b)
        (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    write_index("a.safetensors", "b.safetensors")
    first = weights_digest(model)
    (model / "a.safetensors").rename(model / "z.safetensors")
    write_index("z.safetensors", "b.safetensors")
    assert weights_digest(model) == first
    (model / "z.safetensors").unlink()
    with pytest.raises(Exception, match=r"lacks 1 of the 2 weight files .*z\.safetensors"):
        weights_digest(model)


def test_an_adapters_digest_follows_its_content(model: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", model)
    first = adapter_digest(adapter)
    copy = Path(shutil.copytree(adapter, tmp_path / "copy"))
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "somewhere/else"}))
    assert adapter_digest(copy) == first
    flip_byte(copy / "adapter_model.safetensors")
    assert adapter_digest(copy) != first


def test_the_chat_template_is_found_where_transformers_finds_it(tmp_path: Path) -> None:
    assert template_digest(tmp_path) == ""
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert chat_template(tmp_path) == "D"
    without = tokenizer_digest(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("J")
    assert chat_template(tmp_path) == "J"
    assert tokenizer_digest(tmp_path) == without


def test_end_of_sequence_ids_are_part_of_the_tokenizer(tmp_path: Path) -> None:
    digests = set()
    for ids in (2, [2, 7]):
        (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
        digests.add(tokenizer_digest(tmp_path))
    assert len(digests) == 2
