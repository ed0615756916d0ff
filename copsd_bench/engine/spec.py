"""Which engine to load for which model: one a process for each base, one worker for each view of it."""

import json
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from copsd_bench.engine.model_thread import on_model_thread
from copsd_bench.engine.protocol import View
from copsd_bench.errors import CopsdError, ExitCode, unknown_name

if TYPE_CHECKING:
    from copsd_bench.engine.transformers_engine import TransformersEngine
    from copsd_bench.engine.vllm_engine import VllmEngine, VllmWorker
    from copsd_bench.engine.worker import Worker
    from copsd_bench.models.resolve import ResolvedModel

ENGINES = ("transformers", "vllm")


@dataclass(frozen=True)
class EngineSpec:
    """Everything that decides a local model's answers, and how fast they come.

    Attributes:
        model: name, folder or hub id.
        adapter: PEFT folder, or None.
        revision: hub revision, or None.
        dtype: `bfloat16`, `float16`, `float32`; empty chooses what the hardware does well.
        device: torch device; empty chooses.
        engine: `transformers` or `vllm`.
        batch_size: rows decoded together; 0 chooses by device.
        trust_remote_code: run model code that comes with the weights.
        weights: expected identity digest; empty does not check.
        engine_args: further arguments of the vLLM engine as a JSON object (`{"tensor_parallel_size": 2}`).
    """

    model: str
    adapter: str | None = None
    revision: str | None = None
    dtype: str = ""
    device: str = ""
    engine: str = "transformers"
    batch_size: int = 0
    trust_remote_code: bool = False
    weights: str = ""
    engine_args: str = ""

    @classmethod
    def from_model_args(cls, model: str, args: dict[str, Any]) -> "EngineSpec":
        """Build from Inspect's `-M` arguments.

        Raises:
            CopsdError: an unknown argument, engine or dtype.
        """
        names = [field.name for field in fields(cls) if field.name != "model"]
        for name in args:
            if name not in names:
                raise unknown_name("model argument", name, names)
        spec = cls(model=model, **{**args, "engine_args": _canonical(args.get("engine_args"))})
        if spec.engine not in ENGINES:
            raise unknown_name("engine", spec.engine, ENGINES)
        if spec.dtype not in ("", "bfloat16", "float16", "float32"):
            raise unknown_name("dtype", spec.dtype, ("bfloat16", "float16", "float32"))
        if spec.engine_args and spec.engine != "vllm":
            raise CopsdError(f"Engine arguments are for the engine vllm; {spec.engine} takes none.")
        return spec

    def model_args(self) -> dict[str, Any]:
        """The specification as Inspect's `-M` arguments, without those at their defaults."""
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "model"}
        return {name: value for name, value in given.items() if value}

    def resolve(self) -> "ResolvedModel":
        """Find the model on disk (downloading it if need be) and check it against `weights`."""
        from copsd_bench.models.resolve import resolve_model

        resolved = resolve_model(self.model, self.adapter, self.revision, self.trust_remote_code)
        if self.weights and self.weights != resolved.identity:
            raise CopsdError(
                f"Model {self.model} has identity {resolved.identity[:16]}, but this run began with "
                f"{self.weights[:16]}: its weights changed on disk; start a new run.",
                ExitCode.MODEL,
            )
        return resolved


def _canonical(arguments: Any) -> str:
    """Engine arguments, a dictionary or its JSON, as one canonical string; hashable however deep they nest."""
    try:
        given = json.loads(arguments) if isinstance(arguments, str) and arguments else arguments or {}
    except json.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise CopsdError(f"engine_args must be an object of vLLM engine arguments, not {arguments!r}.")
    return json.dumps(given, sort_keys=True) if given else ""


_workers: "dict[EngineSpec, Worker | VllmWorker]" = {}
_engines: dict[Hashable, Any] = {}
"""Loaded engines by base weights and settings: by content, as a folder may hold other weights later."""


def load_worker(spec: EngineSpec) -> "Worker | VllmWorker":
    """The worker for a specification; loaded once a process, shared by every task that names it.

    Specifications that differ only in the adapter get views of one engine: the base weights are in memory once.
    """
    if spec not in _workers:
        _workers[spec] = _start(spec)
    return _workers[spec]


def release() -> None:
    """Give back the memory of every model that `load_worker` loaded; one that is named again is loaded again."""
    for worker in _workers.values():
        worker.close()
    _workers.clear()
    for engine in _engines.values():
        engine.close()
    _engines.clear()


def _start(spec: EngineSpec) -> "Worker | VllmWorker":
    from copsd_bench.models.dtype import default_device, default_dtype

    resolved = spec.resolve()
    device = spec.device or default_device()
    spec = replace(spec, device=device, dtype=spec.dtype or default_dtype(device))
    view = View(adapter=resolved.adapter_digest)
    parts = [resolved.identity, spec.engine, spec.dtype, *([spec.engine_args] if spec.engine_args else [])]
    if spec.engine == "vllm":
        from copsd_bench.engine.vllm_engine import VllmWorker

        return VllmWorker(_vllm_engine(spec, resolved), view, ":".join(parts))
    from copsd_bench.engine.worker import Worker

    return Worker(_transformers_engine(spec, resolved), view, ":".join(parts))


def _base(spec: EngineSpec, resolved: "ResolvedModel") -> Hashable:
    contents = (resolved.weights_digest, resolved.tokenizer_digest, resolved.template_digest)
    return contents, replace(spec, model="", revision=None, adapter=None, weights="")


def _transformers_engine(spec: EngineSpec, resolved: "ResolvedModel") -> "TransformersEngine":
    """The engine of the base, with the adapter among its adapters.

    An adapter that reads or copies the base's weights has one of its own, as packed weights allow neither.
    """
    from copsd_bench.engine.transformers_engine import TransformersEngine
    from copsd_bench.models.adapter import leaves_weights_alone

    name = resolved.adapter_digest
    packed = resolved.adapter is None or leaves_weights_alone(resolved.adapter)
    base = _base(spec, resolved), packed
    if base not in _engines:
        size, own_code = spec.batch_size or None, spec.trust_remote_code
        load = partial(TransformersEngine, packed=packed)
        _engines[base] = on_model_thread(load, resolved.path, {}, spec.dtype, spec.device, size, own_code)
    engine: TransformersEngine = _engines[base]
    if name is not None and resolved.adapter is not None and name not in engine.adapters:
        on_model_thread(engine.add_adapter, name, resolved.adapter)
    return engine


def _vllm_engine(spec: EngineSpec, resolved: "ResolvedModel") -> "VllmEngine":
    """The engine of the base if it has the adapter (it takes none after its start), else a further one."""
    from copsd_bench.engine.vllm_engine import VllmEngine

    base, name = _base(spec, resolved), resolved.adapter_digest
    engine: VllmEngine | None = _engines.get(base)
    if engine is None or (name is not None and name not in engine.adapters):
        options = json.loads(spec.engine_args or "{}")
        window = options.pop("max_model_len", None)
        if spec.batch_size:
            options["max_num_seqs"] = spec.batch_size
        adapters = {name: resolved.adapter} if name is not None and resolved.adapter is not None else {}
        engine = VllmEngine(resolved.path, adapters, spec.dtype, window, options, spec.trust_remote_code)
        _engines[base] = engine
    return engine
