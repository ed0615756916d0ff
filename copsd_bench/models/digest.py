"""Digests of what a model is: of contents, never of paths or dates.

A file's sha256 is the hub's own where the file lies in the hub cache (large files are stored there under their
sha256); otherwise the file is hashed once and the result kept by path, size and time of change.
"""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from copsd_bench.cachedir import cache_dir, write_atomic
from copsd_bench.errors import CopsdError, ExitCode

# Fields that say who saved a file, when or from where; they change no answer.
_PROVENANCE = {
    "_name_or_path",
    "_model_name_or_path",
    "name_or_path",
    "transformers_version",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "is_local",
    "local_files_only",
    "chat_template",
}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_RACY_NS = 2_000_000_000  # a file changed this shortly before it was hashed may change again within one clock tick
_ANNOUNCE_BYTES = 2_000_000_000


def file_sha256(path: Path) -> str:
    """sha256 of a file's content, from the hub cache's name or our own notes where they hold, else computed."""
    real = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", real.name) and real.parent.name == "blobs":
        return real.name
    stat = real.stat()
    stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = cache_dir() / "digests" / f"{hashlib.sha256(str(real).encode()).hexdigest()[:32]}.json"
    try:
        noted = json.loads(note.read_text())
        if noted["stamp"] == stamp:
            return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = _hash(real, stat.st_size)
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > _RACY_NS:
        with contextlib.suppress(OSError, CopsdError):  # the cache may be read-only: then it is hashed every time
            write_atomic(note, json.dumps({"path": str(real), "stamp": stamp, "sha256": digest}).encode())
    return digest


def _hash(path: Path, size: int) -> str:
    if size >= _ANNOUNCE_BYTES:
        from rich.console import Console

        Console(stderr=True).print(f"Hashing {path.name} ({size / 1e9:.0f} GB, once) ...", highlight=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files transformers would load from a model folder.

    Raises:
        CopsdError: there are none, other formats only, or a shard is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index)["weight_map"].values()))
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise CopsdError(
                f"{folder} lacks {len(missing)} of the {len(shards)} weight files its index names (first: "
                f"{missing[0]}); copy or download it again.",
                ExitCode.MODEL,
            )
        return [folder / shard for shard in shards]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    others = [
        file.name for file in sorted(folder.iterdir()) if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".gguf"}
    ]
    found = f"only {others[0]}" if others else "no weights"
    raise CopsdError(
        f"{folder} holds {found}; only safetensors are loaded (pickled files can run code): save the model again with "
        "save_pretrained, or choose a revision that has model.safetensors.",
        ExitCode.MODEL,
    )


def weights_digest(folder: Path) -> str:
    """sha256 over the weight files' contents, in any order, and `config.json` without its provenance.

    Modelling code of the model's own counts too, if its config names any.
    """
    config = read_json(folder / "config.json")
    parts = {"weights": sorted(map(file_sha256, weight_files(folder))), "config": _canonical(config)}
    if "auto_map" in config:
        parts["code"] = sorted(map(file_sha256, folder.glob("*.py")))
    return _combine(parts)


def adapter_digest(folder: Path) -> str:
    """sha256 over a PEFT adapter's weights and its config without provenance."""
    config = read_json(folder / "adapter_config.json")
    return _combine({"weights": file_sha256(folder / "adapter_model.safetensors"), "config": _canonical(config)})


def template_digest(folder: Path) -> str:
    """sha256 of the chat template's text; empty where the model has none."""
    text = chat_template(folder)
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def tokenizer_digest(folder: Path) -> str:
    """sha256 over tokenizer and image processor files and the generation config (its end-of-sequence ids count)."""
    files: dict[str, Any] = {name: file_sha256(folder / name) for name in _existing(folder, _TOKENIZER_FILES)}
    for name in _existing(folder, ("tokenizer_config.json", "generation_config.json")):
        files[name] = _canonical(read_json(folder / name))
    return _combine(files)


def chat_template(folder: Path) -> str:
    """The chat template of a model folder, in the order transformers looks for it; empty if there is none."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for name in _existing(folder, ("chat_template.json", "tokenizer_config.json")):
        template = read_json(folder / name).get("chat_template")
        if isinstance(template, list):  # several named templates: transformers takes the one called `default`
            template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
        if template:
            return str(template)
    return ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model or adapter folder.

    Raises:
        CopsdError: the file is missing or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CopsdError(f"{path.parent} has no {path.name}.", ExitCode.MODEL) from error
    except ValueError as error:
        raise CopsdError(f"{path} is not valid JSON ({error}); copy or download it again.", ExitCode.MODEL) from error
    if not isinstance(value, dict):
        raise CopsdError(f"{path} holds no JSON object; copy or download it again.", ExitCode.MODEL)
    return value


def _existing(folder: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if (folder / name).is_file()]


def _canonical(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _PROVENANCE}


def _combine(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
