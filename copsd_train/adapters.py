"""Adapters on disk: written with a note of their base, checked against it, added into its weights."""

import json
import shutil
from pathlib import Path
from typing import Any

from copsd_bench.cachedir import staging_dir
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.adapter import check_adapter
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.models.tensors import tensor_shapes

BASE_NOTE = "copsd_base.json"
"""Beside an adapter: the digest of the weights it was trained on. Shapes alone cannot tell two sisters apart."""


def save_adapter(model: Any, name: str, folder: Path, base: ResolvedModel) -> None:
    """Write an adapter of a model as a PEFT folder, with a note of its base; the same bytes in every process."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    config = model.peft_config[name]
    config.base_model_name_or_path = base.name
    config.save_pretrained(str(folder))
    written = folder / "adapter_config.json"
    settings = json.loads(written.read_text(encoding="utf-8"))
    if isinstance(settings["target_modules"], list):  # a set in PEFT, whose order differs between processes
        settings["target_modules"].sort()
    written.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    state = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    # Written by Python, so that a full disk is an OSError here too.
    (folder / "adapter_model.safetensors").write_bytes(save(state, {"format": "pt"}))
    note = {"name": base.name, "weights_digest": base.weights_digest}
    (folder / BASE_NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def check_base(adapter: Path, base: ResolvedModel) -> None:
    """Refuse an adapter of another base, by its note of the base's digest where it has one, else by shapes.

    Raises:
        CopsdError: it does not belong to this base, or changes what student, teacher and base share.
    """
    check_adapter(adapter, base.path)
    names = tensor_shapes([adapter / "adapter_model.safetensors"])
    if shared := next((name for name in names if "lm_head" in name or "embed_tokens" in name), None):
        raise CopsdError(
            f"{adapter} changes {shared}, but student, teacher and base share one LM head and one embedding; give an "
            "adapter of attention and MLP layers alone.",
            ExitCode.MODEL,
        )
    note = adapter / BASE_NOTE
    if note.is_file():
        made_for = json.loads(note.read_text(encoding="utf-8"))
        if made_for["weights_digest"] != base.weights_digest:
            raise CopsdError(
                f"{adapter} is an adapter of another base ({made_for['name']}, other weights); pass the model it was "
                "trained on as --model.",
                ExitCode.MODEL,
            )


def merge(base: ResolvedModel, adapter: Path, out: Path) -> None:
    """The base with an adapter's factors added into its weights, as a model folder.

    Raises:
        CopsdError: `out` exists, or the adapter belongs to another base.
    """
    if out.exists():
        raise CopsdError(f"{out} exists already; choose a new folder for the merged model.")
    check_base(adapter, base)
    from transformers import AutoConfig

    from copsd_bench.engine.load import load_model

    config = AutoConfig.from_pretrained(base.path, local_files_only=True, trust_remote_code=base.trust_remote_code)
    # Configs name it in their own place or, of a multimodal model, in the text model's, and used to as `torch_dtype`.
    dtype = config.dtype or config.get_text_config().dtype or "float32"
    name = str(dtype).removeprefix("torch.")
    loaded = load_model(base.path, {"student": adapter}, name, "cpu", base.trust_remote_code)
    with staging_dir(out.parent, out.name) as staging:
        loaded.model.merge_and_unload().save_pretrained(staging)
        (loaded.processor or loaded.tokenizer).save_pretrained(staging)
        replace_folder(staging, out)


def replace_folder(staging: Path, folder: Path) -> None:
    """Move a finished folder to its place; an older one there goes away only when the new one is complete."""
    old = folder.parent / f".old-{folder.name}"
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
