"""From what a user names to a model on disk, known by content: the built-in, a local folder, or a hub id."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.models.adapter import check_adapter
from copsd_bench.models.builtin import BUILTINS, fetch_builtin
from copsd_bench.models.digest import (
    adapter_digest,
    read_json,
    template_digest,
    tokenizer_digest,
    weight_files,
    weights_digest,
)
from copsd_bench.models.tensors import tensor_shapes

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ALLOW = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]
# Other formats of the same weights: subfolders (onnx, original) and Mistral's consolidated copy.
_IGNORE = ["*/*", "consolidated*"]


@dataclass(frozen=True)
class ResolvedModel:
    """A model on disk. Digests are sha256 of contents, never of paths.

    Attributes:
        name: as the user gave it.
        path: folder with config, safetensors and tokenizer.
        weights_digest: of weights and config.
        tokenizer_digest: of tokenizer, image processor and generation config.
        template_digest: of the chat template; empty if it has none.
        adapter, adapter_digest: the LoRA folder put on it, or None.
        revision: commit of a hub snapshot, or None.
        trust_remote_code: whether the model's own code may run.
    """

    name: str
    path: Path
    weights_digest: str
    tokenizer_digest: str
    template_digest: str
    adapter: Path | None = None
    adapter_digest: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def identity(self) -> str:
        """One sha256 over everything that decides its answers; for run identity and generation-cache scope."""
        parts = (self.weights_digest, self.tokenizer_digest, self.template_digest, self.adapter_digest or "")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def resolve_model(
    name: str,
    adapter: str | Path | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> ResolvedModel:
    """Find a model, download it if need be, check its adapter, and take its digests.

    Args:
        name: `smollm2-135m`, a local folder, or a hub id (`owner/name`).
        adapter: a PEFT LoRA folder to put on it.
        revision: commit, tag or branch of a hub id.
        trust_remote_code: let a model bring its own modelling code; off unless asked.

    Raises:
        CopsdError: unknown name, unreachable hub, gated model, no safetensors, or an adapter of another base.
    """
    path, commit = _locate(name, revision, trust_remote_code)
    tensor_shapes(weight_files(path))  # reads every header: a cut or foreign file is found here, not in the engine
    if "auto_map" in read_json(path / "config.json") and not trust_remote_code:
        _require_known_architecture(name, path)
    folder = Path(adapter).expanduser().resolve() if adapter is not None else None
    if folder is not None:
        check_adapter(folder, path)
    return ResolvedModel(
        name=name,
        path=path,
        weights_digest=weights_digest(path),
        tokenizer_digest=tokenizer_digest(path),
        template_digest=template_digest(path),
        adapter=folder,
        adapter_digest=adapter_digest(folder) if folder is not None else None,
        revision=commit,
        trust_remote_code=trust_remote_code,
    )


def is_hub_id(name: str) -> bool:
    """Whether a name stands for a model on the hub: it looks like an id, and is no built-in and no folder here."""
    named = _HUB_ID.fullmatch(name) is not None and not name.startswith((".", "~"))
    return named and name not in BUILTINS and not Path(name).expanduser().is_dir()


def _locate(name: str, revision: str | None, trust_remote_code: bool) -> tuple[Path, str | None]:
    """The model's folder, and the commit if it came from the hub."""
    folder = Path(name).expanduser()
    if is_hub_id(name):
        from copsd_bench.hub import snapshot

        path = snapshot(
            name,
            revision=revision,
            allow=[*_ALLOW, "*.py"] if trust_remote_code else _ALLOW,
            ignore=_IGNORE,
            mirror_hint="download it where there is a network (hf download) and pass its folder as --model, or point "
            "HF_HOME at a cache that has it.",
        )
        return path, path.name
    if revision is not None:
        raise CopsdError(f"--revision belongs to hub ids; {name!r} is not one.")
    if name in BUILTINS:
        return fetch_builtin(name), None
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            base = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "BASE"
            raise CopsdError(
                f"{name} is a PEFT adapter, not a model; pass --model {base} --adapter {name}.", ExitCode.MODEL
            )
        return folder.resolve(), None
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        raise CopsdError(f"There is no model folder {name}; check the path.", ExitCode.MODEL)
    error = unknown_name("model", name, BUILTINS, ExitCode.MODEL)
    raise CopsdError(f"{error} A model is a built-in name, a local folder or a hub id (owner/name).", ExitCode.MODEL)


def _require_known_architecture(name: str, path: Path) -> None:
    """A model with code of its own is fine when transformers knows its architecture anyway."""
    from transformers import CONFIG_MAPPING

    model_type = read_json(path / "config.json").get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise CopsdError(
            f"{name} ({model_type}) needs modelling code of its own, which is off by default; read that code, then "
            "pass --trust-remote-code.",
            ExitCode.MODEL,
        )
