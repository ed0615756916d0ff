"""One run: resolve, check, evaluate with Inspect, make the record. The same command continues where it stopped."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copsd_bench.benchmarks.respond import BY_CATEGORY, NO_CONSTITUTION, context_named
from copsd_bench.config import RunConfig
from copsd_bench.constitution import constitution_names
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.judges.registry import JUDGES, judge_argument
from copsd_bench.models.remote import SERVER_CONNECTIONS, check_server, is_inspect_model, provider_model, server_host
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo, RunRecord
from copsd_bench.suites import make_task, tasks_of

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

LOCAL_ONLY = {"adapter", "revision", "engine", "engine_args", "dtype", "device", "batch_size", "trust_remote_code"}
"""Settings that only a model loaded here can follow."""
SERVER_NOTE = "answers of a server: its weights and chat template are known by the model's name only"


@dataclass
class Plan:
    """A checked run: everything is known before the first token is generated.

    Attributes:
        identity: digest of all that decides the numbers; names the run's log folder.
        spec: local engine, or None for an Inspect provider (or recorded answers).
        notes: for the record.
    """

    config: RunConfig
    tasks: "list[Task]"
    model: ModelInfo
    constitution: ConstitutionInfo
    spec: EngineSpec | None
    identity: str
    notes: list[str] = field(default_factory=list)

    @property
    def log_dir(self) -> Path:
        """Inspect's log folder of this run; one a run identity."""
        return self.config.out / "logs" / self.identity[:16]

    @property
    def record_path(self) -> Path:
        """Where the record goes."""
        stem = "".join(c if c.isalnum() or c in "-." else "-" for c in self.config.model).strip("-.")[-60:]
        return self.config.out / f"{stem}-{self.identity[:12]}.json"


def plan(config: RunConfig) -> Plan:
    """Check a configuration and load its data; nothing is generated.

    Raises:
        CopsdError: anything that could fail later: unknown names, missing data, a model or adapter that does not fit,
            a token limit beyond the context.
    """
    names = tasks_of(config.suite, config.task)
    if not names and config.prompts is None:
        names = tasks_of("mini", [])
    constitution = _constitution(config)
    _check_judge(config.judge)
    judge = judge_argument(config.judge)
    common: dict[str, Any] = {"constitution": _mode(config), "seed": config.seed}
    tasks = [make_task(name, judge, **common) for name in names]
    if config.prompts is not None:
        from copsd_bench.benchmarks.prompts import prompts

        tasks.append(prompts(file=str(config.prompts), **common))
    spec, model = _model(config)
    if spec is not None:
        _check_token_limit(config, tasks, spec)
    notes = [SERVER_NOTE] if model.engine == "server" else []
    return Plan(config, tasks, model, constitution, spec, identity_of(config, tasks, model, constitution, spec), notes)


def execute(planned: Plan, command: list[str], on_start: Callable[[], None] = lambda: None) -> RunRecord:
    """Evaluate and write the record.

    Args:
        planned: a checked run.
        command: the command line, for the record.
        on_start: called when the model is loaded.

    Raises:
        CopsdError: samples failed (what is done is kept), or the run was interrupted.
    """
    from inspect_ai import eval_set

    started = time.monotonic()
    model, roles = _inspect_models(planned)
    on_start()
    config = planned.config
    planned.log_dir.mkdir(parents=True, exist_ok=True)
    success, headers = eval_set(
        planned.tasks,
        log_dir=str(planned.log_dir),
        model=model,
        model_roles=roles,
        limit=config.limit,
        epochs=config.epochs,
        retry_attempts=0,
        retry_immediate=False,
        # One sample that fails does not stop the others; the run fails at its end, and says which and why.
        continue_on_fail=True,
        log_buffer=None if model is None else 1,
        log_realtime=False,
        log_dir_allow_dirty=True,
        max_tasks=1,
        max_connections=_connections(planned, model),
        display=config.display,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
    )
    # Interrupted, eval_set calls itself successful and leaves the unfinished task out.
    if not success or len(headers) < len(planned.tasks) or any(header.status != "success" for header in headers):
        raise _failure(headers, planned)
    return _record(planned, headers, command, time.monotonic() - started)


def _record(planned: Plan, headers: "list[EvalLog]", command: list[str], seconds: float) -> RunRecord:
    from inspect_ai.log import read_eval_log

    from copsd_bench.records.build import task_record
    from copsd_bench.records.environment import environment
    from copsd_bench.records.store import write_record

    config = planned.config
    order = {task.name: i for i, task in enumerate(planned.tasks)}
    records = [task_record(read_eval_log(header.location), config.seed) for header in headers]
    record = RunRecord(
        run_id=planned.identity,
        created=datetime.now(UTC),
        command=command,
        suite=config.suite,
        model=planned.model,
        constitution=planned.constitution,
        seed=config.seed,
        epochs=config.epochs,
        limit=config.limit,
        tasks=sorted(records, key=lambda record: order.get(record.name, len(order))),
        environment=environment(),
        seconds=round(seconds, 3),
        notes=planned.notes,
    )
    write_record(record, planned.record_path)
    return record


def _inspect_models(planned: Plan) -> tuple[Any, dict[str, Any] | None]:
    """The model under test and the roles, as Inspect models."""
    from inspect_ai.model import get_model

    import copsd_bench._registry  # noqa: F401  (registers the provider also where the package is not installed)

    config = planned.config
    if planned.model.engine == "responses":
        model = None
    elif planned.spec is None:
        model = provider_model(config.model, config.base_url)
    else:
        model = get_model(f"copsd/{planned.spec.model}", **planned.spec.model_args())
    roles = None
    if config.judge is not None and config.judge not in JUDGES:
        if config.judge == config.model:
            raise CopsdError(f"The judge {config.judge} is the model under test; choose another judge.")
        roles = {"grader": provider_model(config.judge)}
    return model, roles


def _connections(planned: Plan, model: Any) -> int | None:
    """Requests in flight. Inspect would start with few and grow: a batch wants all its rows at once."""
    if planned.spec is not None:
        return int(model.api.max_connections())
    return planned.config.max_connections or (SERVER_CONNECTIONS if planned.model.engine == "server" else None)


def _model(config: RunConfig) -> tuple[EngineSpec | None, ModelInfo]:
    if config.base_url is not None or is_inspect_model(config.model):
        for option in sorted(LOCAL_ONLY & config.model_fields_set):
            raise CopsdError(f"--{option.replace('_', '-')} needs a local model; {config.model} runs elsewhere.")
        if config.base_url is None:
            return None, ModelInfo(name=config.model, weights_digest=f"api:{config.model}", engine="inspect")
        digest = f"server:{server_host(config.base_url)}/{config.model}"
        check_server(config.base_url, config.model)
        return None, ModelInfo(name=config.model, weights_digest=digest, engine="server")
    if config.max_connections is not None:
        raise CopsdError("--max-connections is for servers and APIs; a local model takes --batch-size.")
    from copsd_bench.models.dtype import checked_device, default_device, default_dtype
    from copsd_bench.models.info import count_parameters

    device = checked_device(config.device) if config.device else default_device()
    arguments = config.model_dump(include={"revision", "engine", "engine_args", "batch_size", "trust_remote_code"})
    arguments |= {"device": device, "dtype": config.dtype or default_dtype(device)}
    arguments |= {"adapter": str(config.adapter)} if config.adapter else {}
    spec = EngineSpec.from_model_args(config.model.removeprefix("copsd/"), arguments)
    resolved = spec.resolve()
    if not resolved.template_digest:
        raise CopsdError(
            f"The tokenizer of {config.model} has no chat template; use a chat model, or add `chat_template` to its "
            "tokenizer_config.json (a base model's answers to raw questions are not comparable).",
            ExitCode.MODEL,
        )
    info = ModelInfo(
        name=config.model,
        weights_digest=resolved.weights_digest,
        adapter=spec.adapter,
        adapter_digest=resolved.adapter_digest,
        template_digest=resolved.template_digest,
        engine=spec.engine,
        dtype=spec.dtype,
        device=spec.device,
        parameters=count_parameters(resolved.path),
    )
    return replace(spec, weights=resolved.identity), info


def _check_judge(judge: str | None) -> None:
    if judge is not None and judge not in JUDGES and not is_inspect_model(judge) and not judge.startswith("copsd/"):
        error = unknown_name("judge", judge, JUDGES)
        raise CopsdError(f"{error} A judge is an offline one or an Inspect model (`openai/...`, `copsd/...`).")


def _mode(config: RunConfig) -> str:
    """The constitution as tasks take it: `none`, `default`, `default@system`, `category` ..."""
    return f"{config.constitution}@{config.placement}" if config.placement else config.constitution


def _constitution(config: RunConfig) -> ConstitutionInfo:
    if config.constitution == NO_CONSTITUTION:
        if config.placement is not None:
            raise CopsdError("--placement needs a --constitution to place.")
        return ConstitutionInfo()
    names = constitution_names() if config.constitution == BY_CATEGORY else [config.constitution]
    contexts = [
        context for name in names if (context := context_named(_mode(config).replace(config.constitution, name)))
    ]
    return ConstitutionInfo(
        mode=config.constitution if config.constitution == BY_CATEGORY else contexts[0].name,
        digest=hashlib.sha256("\0".join(context.text for context in contexts).encode()).hexdigest(),
        placement=contexts[0].placement,
    )


def _check_token_limit(config: RunConfig, tasks: "list[Task]", spec: EngineSpec) -> None:
    from copsd_bench.models.digest import read_json

    settings = read_json(spec.resolve().path / "config.json")
    window = (settings.get("text_config") or settings).get("max_position_embeddings")
    for task in tasks:
        limit = config.max_tokens or task.config.max_tokens or 0
        if window is not None and limit >= window:
            raise CopsdError(
                f"Task {task.name}: a limit of {limit} answer tokens does not fit the model's context window of "
                f"{window} tokens; lower --max-tokens."
            )


def identity_of(
    config: RunConfig,
    tasks: "list[Task]",
    model: ModelInfo,
    constitution: ConstitutionInfo,
    spec: EngineSpec | None = None,
) -> str:
    """Digest of all that decides a run's numbers: names its log folder, and makes its continuation safe."""
    from copsd_bench import __version__

    parts = {
        "version": __version__,
        "model": model.model_dump(exclude={"name", "adapter", "parameters"}),
        # Weights, tokenizer, generation config, template and adapter: Inspect keeps one log folder to one of them.
        "weights": spec.weights if spec is not None else "",
        "engine": {"batch_size": config.batch_size},
        "constitution": constitution.model_dump(),
        "settings": config.model_dump(
            mode="json", include={"judge", "seed", "epochs", "limit", "max_tokens", "temperature", "top_p", "suite"}
        ),
        "tasks": [
            {
                "name": task.name,
                "version": str(task.version),
                "metadata": task.metadata,
                "config": task.config.model_dump(exclude_none=True),
                "samples": hashlib.sha256("\0".join(str(sample.id) for sample in task.dataset).encode()).hexdigest(),
            }
            for task in tasks
        ],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _failure(headers: "list[EvalLog]", planned: Plan) -> CopsdError:
    """One sentence for a run that did not finish."""
    from inspect_ai.log import read_eval_log_sample_summaries

    if len(headers) < len(planned.tasks) or any(header.status == "cancelled" for header in headers):
        return CopsdError("Interrupted; the same command continues where it stopped.", ExitCode.INTERRUPTED)
    for header in headers:
        if header.error is not None:
            reason = header.error.message.strip().splitlines()[0] if header.error.message.strip() else "unknown error"
            return CopsdError(
                f"Task {header.eval.task} stopped: {reason} What is done is kept in {planned.log_dir}; "
                "the same command continues.",
                ExitCode.RUN,
            )
    for header in headers:
        failed = [sample for sample in read_eval_log_sample_summaries(header.location) if sample.error]
        if failed:
            reason = str(failed[0].error).strip().splitlines()[0].rstrip(".")
            return CopsdError(
                f"Task {header.eval.task}: {len(failed)} failed (first {failed[0].id}: {reason}). The others "
                f"are kept in {planned.log_dir}; the same command tries the failed ones again.",
                ExitCode.RUN,
            )
    return CopsdError(
        f"The run did not finish; see {planned.log_dir} with `copsd-bench view`, then repeat the command.", ExitCode.RUN
    )
