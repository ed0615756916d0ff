"""Which engine to load for which model, and one worker a process for each."""

import json
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from copsd_bench.engine.protocol import View
from copsd_bench.errors import CopsdError, ExitCode, unknown_name

if TYPE_CHECKING:
    from copsd_bench.engine.vllm_engine import VllmWorker
    from copsd_bench.engine.worker import Worker
    from copsd_bench.models.resolve import ResolvedModel

ENGINES = ("transformers", "vllm")
ADAPTER = "tuned"
"""Name under which `--adapter` is loaded."""


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
        engine_args: vLLM's engine arguments as a JSON object, e.g. `{"tensor_parallel_size": 2}`; empty sets none.
        weights: expected identity digest; empty does not check.
    """

    model: str
    adapter: str | None = None
    revision: str | None = None
    dtype: str = ""
    device: str = ""
    engine: str = "transformers"
    batch_size: int = 0
    trust_remote_code: bool = False
    engine_args: str = ""
    weights: str = ""

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
        if isinstance(args.get("engine_args"), dict):  # Inspect reads `-M` values as YAML, of which JSON is a part
            args = {**args, "engine_args": json.dumps(args["engine_args"], sort_keys=True)}
        spec = cls(model=model, **args)
        if spec.engine not in ENGINES:
            raise unknown_name("engine", spec.engine, ENGINES)
        if spec.dtype not in ("", "bfloat16", "float16", "float32"):
            raise unknown_name("dtype", spec.dtype, ("bfloat16", "float16", "float32"))
        if spec.engine_args and spec.engine != "vllm":
            raise CopsdError("`engine_args` are vLLM's; pass `engine=vllm` with them.")
        return spec

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


@cache
def load_worker(spec: EngineSpec) -> "Worker | VllmWorker":
    """The worker for a specification; loaded once a process, shared by every task that names it."""
    from copsd_bench.models.dtype import default_device, default_dtype

    resolved = spec.resolve()
    device = spec.device or default_device()
    dtype = spec.dtype or default_dtype(device)
    adapters = {ADAPTER: resolved.adapter} if resolved.adapter else {}
    view = View(adapter=ADAPTER if adapters else None)
    if spec.engine == "vllm":
        from copsd_bench.engine.vllm_engine import VllmEngine, VllmWorker

        args = _engine_args(spec)
        return VllmWorker(VllmEngine(resolved.path, adapters, dtype, None, args, spec.trust_remote_code), view)
    from copsd_bench.engine.transformers_engine import TransformersEngine
    from copsd_bench.engine.worker import Worker

    engine = TransformersEngine(resolved.path, adapters, dtype, device, spec.batch_size or None, spec.trust_remote_code)
    return Worker(engine, view)


def _engine_args(spec: EngineSpec) -> dict[str, Any]:
    try:
        args = json.loads(spec.engine_args or "{}")
    except ValueError as error:
        raise CopsdError(
            f"`engine_args` is not JSON ({error}); write e.g. '{{\"tensor_parallel_size\": 2}}'."
        ) from error
    if not isinstance(args, dict):
        raise CopsdError("`engine_args` must be a JSON object, e.g. '{\"tensor_parallel_size\": 2}'.")
    return args | ({"max_num_seqs": spec.batch_size} if spec.batch_size else {})
