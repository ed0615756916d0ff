"""One run: resolve, check, evaluate with Inspect, make the record. The same command continues where it stopped."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copsd_bench.benchmarks.respond import NO_CONSTITUTION, constitution_info
from copsd_bench.benchmarks.task import KEY
from copsd_bench.config import RunConfig
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.generations import generations_in
from copsd_bench.judges.registry import judge_argument
from copsd_bench.models.remote import check_provider_model
from copsd_bench.records.paths import published
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo, ReferenceInfo, RunRecord
from copsd_bench.reference_model import (
    FoundReference,
    check_task_options,
    find_reference,
    left_out,
    task_arguments,
)
from copsd_bench.suites import make_task, tasks_of
from copsd_bench.tested_model import check_judge, elsewhere, find_model, judge_digests

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

    from copsd_bench.evaluate import Evaluated

SERVER_NOTE = "answers of a server: its weights and chat template are known by the model's name only"


@dataclass
class Plan:
    """A checked run: everything is known before the first token is generated.

    Attributes:
        identity: digest of all that decides the numbers; names the run's log folder.
        spec: local engine, or None for an Inspect provider (or recorded answers).
        notes: for the record.
        reference: what the tasks of the suite `collapse` measure against.
        judges: see `judge_digests`.
    """

    config: RunConfig
    tasks: "list[Task]"
    model: ModelInfo
    constitution: ConstitutionInfo
    spec: EngineSpec | None
    identity: str
    notes: list[str] = field(default_factory=list)
    reference: FoundReference | None = None
    judges: dict[str, str] = field(default_factory=dict)

    @property
    def log_dir(self) -> Path:
        """Inspect's log folder of this run; one a run identity."""
        return self.config.out / "logs" / self.identity[:16]

    @property
    def generations(self) -> Path:
        """Folder of answers that several tasks share; removed when the record is written."""
        return self.log_dir / "generations"

    @property
    def record_path(self) -> Path:
        """Where the record goes."""
        stem = "".join(c if c.isalnum() or c in "-." else "-" for c in self.model.name).strip("-.")[-60:]
        return self.config.out / f"{stem}-{self.identity[:12]}.json"


def kept_answers(planned: Plan) -> str:
    """A sentence where answers of an earlier run will be kept although its model may be another by now; else empty."""
    logs = [] if planned.spec is not None else sorted(planned.log_dir.rglob("*.eval"))
    if not logs or planned.model.engine == "responses":
        return ""
    day = datetime.fromtimestamp(logs[0].stat().st_mtime, UTC).date()
    return (
        f"Answers since {day} are kept: a model elsewhere is known by its name, whatever weights it has today; another "
        "--out asks it again."
    )


def plan(config: RunConfig) -> Plan:
    """Check a configuration and load its data; nothing is generated.

    Raises:
        CopsdError: anything that could fail later: unknown names, missing data, a model or adapter that does not fit,
            a token limit beyond the context, a provider's key that is not there, a folder that cannot be written.
    """
    _check_out(config.out)
    names = tasks_of(config.suite, config.task)
    if not names and config.prompts is None:
        names = tasks_of("mini", [])
    if config.constitution == NO_CONSTITUTION and config.placement is not None:
        raise CopsdError("--placement needs a --constitution to place.")
    constitution = constitution_info(_mode(config))
    check_judge(config, names)
    measured = check_task_options(config, names)
    judge = judge_argument(config.judge)
    common: dict[str, Any] = {"constitution": _mode(config), "seed": config.seed}
    tasks = [
        make_task(name, judge, config.unsafe_local_exec, **common, **task_arguments(config, name)) for name in names
    ]
    if config.prompts is not None and not measured:
        from copsd_bench.benchmarks.prompts import prompts

        tasks.append(prompts(file=str(config.prompts), **common))
    if config.attack is not None:
        from copsd_bench.benchmarks.attack import attacked

        tasks = [attacked(task, config.attack) for task in tasks]
    if config.respond != "direct":
        from copsd_bench.benchmarks.reframe import reframed

        tasks = [reframed(task, config.respond, config.seed) for task in tasks]
    spec, model = find_model(config)
    if config.attack is not None and model.engine == "inspect":
        from copsd_bench.benchmarks.attack import check_provider

        check_provider(config.attack, model.name)
    _check_needs(tasks, spec)
    if spec is not None:
        _check_token_limit(config, tasks, spec)
    notes = [SERVER_NOTE] if model.engine == "server" else []
    reference = find_reference(config, spec, model, _mode(config)) if config.reference is not None else None
    if reference is not None:
        unfit = left_out([task.name for task in tasks], config, spec, model, reference)
        tasks = [task for task in tasks if task.name not in unfit]
        notes += [f"left out: {reason}" for reason in unfit.values()]
    for name in elsewhere(config, model, reference):
        check_provider_model(name)
    judges = judge_digests(config.judge, model)
    identity = identity_of(config, tasks, model, constitution, spec, reference.info if reference else None, judges)
    return Plan(config, tasks, model, constitution, spec, identity, notes, reference, judges)


def _check_out(out: Path) -> None:
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        reason = "cannot be written" if existing.is_dir() else "is no folder"
        raise CopsdError(f"--out {out}: {existing} {reason}; choose another --out.", ExitCode.DISK)


def execute(planned: Plan, command: list[str]) -> RunRecord:
    """Evaluate and write the record.

    Args:
        planned: a checked run.
        command: the command line, for the record.

    Raises:
        CopsdError: samples failed (what is done is kept), or the run was interrupted.
    """
    from copsd_bench.evaluate import evaluate

    try:
        planned.log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CopsdError(
            f"The folder {planned.log_dir} cannot be created ({error.strerror}); choose another --out.", ExitCode.DISK
        ) from error
    with generations_in(planned.generations):
        evaluated = evaluate(planned)
    record = _record(planned, evaluated, command)
    shutil.rmtree(planned.generations, ignore_errors=True)
    return record


def _record(planned: Plan, evaluated: "Evaluated", command: list[str]) -> RunRecord:
    from inspect_ai.log import read_eval_log

    from copsd_bench.records.build import seconds_under_way, task_record
    from copsd_bench.records.environment import environment
    from copsd_bench.records.store import write_record

    config = planned.config
    order = {task.name: i for i, task in enumerate(planned.tasks)}
    against = _published(planned.reference.info) if planned.reference is not None else None
    local = planned.spec is not None
    records = [
        task_record(read_eval_log(header.location), config.seed, against, local, planned.judges)
        for header in evaluated.scored
    ]
    before = {task: seconds_under_way(read_eval_log(log.location)) for task, log in evaluated.answered.items()}
    records = [task.model_copy(update={"seconds": task.seconds + before.get(task.name, 0.0)}) for task in records]
    record = RunRecord(
        run_id=planned.identity,
        created=datetime.now(UTC),
        command=[published(argument) for argument in command],
        suite=config.suite,
        model=planned.model,
        constitution=planned.constitution,
        seed=config.seed,
        epochs=config.epochs,
        limit=config.limit,
        tasks=sorted(records, key=lambda record: order.get(record.name, len(order))),
        environment=environment(),
        seconds=round(sum(task.seconds for task in records), 3),
        notes=planned.notes,
    )
    if (earlier := _earlier_record(planned, evaluated.scored)) is not None:
        kept = {"created": earlier.created, "command": earlier.command, "environment": earlier.environment}
        record = record.model_copy(update=kept)
    write_record(record, planned.record_path)
    return record


def _published(reference: ReferenceInfo) -> ReferenceInfo:
    return reference.model_copy(update={"name": published(reference.name)})


def _earlier_record(planned: Plan, headers: "list[EvalLog]") -> RunRecord | None:
    """The record this run left before, if nothing was generated since: it says where and when the answers were made."""
    from copsd_bench.records.store import read_record

    try:
        earlier = read_record(planned.record_path)
    except CopsdError:
        return None
    finished = max(datetime.fromisoformat(header.stats.completed_at) for header in headers)
    return earlier if earlier.run_id == planned.identity and finished <= earlier.created else None


def _mode(config: RunConfig) -> str:
    """The constitution as tasks take it: `none`, `default`, `default@system`, `category` ..."""
    return f"{config.constitution}@{config.placement}" if config.placement else config.constitution


def _check_needs(tasks: "list[Task]", spec: EngineSpec | None) -> None:
    for task in tasks:
        needs = (task.metadata or {}).get(KEY, {}).get("needs", [])
        if "score" in needs and (spec is None or spec.engine != "transformers"):
            raise CopsdError(
                f"Task {task.name} compares log-likelihoods, which only a local model on the engine transformers gives."
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
    reference: ReferenceInfo | None = None,
    judges: Mapping[str, str] | None = None,
) -> str:
    """Digest of all that decides a run's numbers: names its log folder, and makes its continuation safe."""
    from copsd_bench import __version__

    parts = {
        "version": __version__,
        "model": model.model_dump(exclude={"name", "adapter", "parameters"}),
        # Weights, tokenizer, generation config, template and adapter: Inspect keeps one log folder to one of them.
        "weights": spec.weights if spec is not None else "",
        "engine": {"batch_size": config.batch_size, "arguments": spec.engine_args if spec is not None else ""},
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
    if judges:
        parts["judges"] = dict(judges)
    if reference is not None:
        parts["reference"] = reference.model_dump(exclude={"model": {"name", "adapter", "parameters"}})
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
