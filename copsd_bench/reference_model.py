"""The reference of a run: which model it is, and which tasks of the suite `collapse` can be run against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.benchmarks.collapse.reference import no_base, parse_reference
from copsd_bench.benchmarks.respond import constitution_info
from copsd_bench.config import RunConfig
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError
from copsd_bench.judges.registry import split_judges
from copsd_bench.models.remote import is_inspect_model
from copsd_bench.records.schema import ModelInfo, ReferenceInfo
from copsd_bench.suites import task_info
from copsd_bench.task_table import TASKS
from copsd_bench.tested_model import find_model

ENGINE_SETTINGS = {"engine", "engine_args", "dtype", "device", "batch_size", "trust_remote_code"}
"""Settings of the tested model's engine that another local model takes over."""
SAMPLING = ("max_tokens", "temperature", "top_p")


@dataclass(frozen=True)
class FoundReference:
    """A checked reference.

    Attributes:
        info: for the record.
        spec: its engine, or None for a model of an Inspect provider.
        shared: the tested model itself answers, with another context or seed.
    """

    info: ReferenceInfo
    spec: EngineSpec | None
    shared: bool


def check_task_options(config: RunConfig, names: Sequence[str]) -> bool:
    """Whether some of the tasks measure rollouts of the model against a reference's.

    Raises:
        CopsdError: they do and `--reference` is missing, or `--epochs` is given; or an option is given that no task
            takes.
    """
    measured = [name for name in names if task_info(name).reference]
    taken = {option for name in names for option in task_info(name).options}
    for option in ("reference", "rollouts", "embedding_model", "profile"):
        if getattr(config, option) is not None and option not in taken:
            flag, tasks = f"--{option.replace('_', '-')}", ", ".join(n for n, i in TASKS.items() if option in i.options)
            raise CopsdError(f"{flag} is for tasks that take it ({tasks}); none of them is to be run.")
    if not measured:
        return False
    if config.reference is None:
        raise CopsdError(
            f"Task {measured[0]} measures the model against another: give --reference base, self, constitution:NAME, "
            "or a model."
        )
    for _, judge in split_judges(config.judge or ""):
        if judge.removeprefix("copsd/") == config.reference.removeprefix("copsd/"):
            raise CopsdError(f"The judge {judge} is the reference; choose another judge.")
    if config.epochs > 1:
        raise CopsdError("--epochs does not fit the tasks of the suite collapse; --rollouts says how many answers.")
    return True


def task_arguments(config: RunConfig, name: str) -> dict[str, Any]:
    """Arguments of a task beside those of every task: the options it takes; the sampling, where two models answer."""
    info = task_info(name)
    wanted = set(info.options)
    if info.reference:
        wanted |= {*SAMPLING, "prompts"}
    elif "reference" in info.options:
        wanted |= set(SAMPLING)
    given = config.model_dump(mode="json", include=wanted)
    arguments = {option: value for option, value in given.items() if value is not None}
    return {"cached": True, **arguments} if info.reference else arguments


def find_reference(config: RunConfig, spec: EngineSpec | None, model: ModelInfo, mode: str) -> FoundReference:
    """Resolve `--reference`.

    Args:
        config: the run.
        spec, model: the tested model.
        mode: the constitution it sees, as tasks take it.

    Raises:
        CopsdError: it is the tested model itself, or a model that cannot be used.
    """
    reference = parse_reference(str(config.reference), mode)
    shared = reference.model is None and (reference.adapter or config.adapter is None)
    if reference.name == "base" and shared and mode == reference.constitution:
        raise no_base("base")
    if shared:
        found = spec, model
    elif reference.model is None:
        found = find_model(config.model_copy(update={"adapter": None}))
    elif is_inspect_model(reference.model):
        found = find_model(RunConfig(model=reference.model))
    else:
        engine = config.model_dump(include=ENGINE_SETTINGS) if spec is not None else {}
        found = find_model(RunConfig(model=reference.model, **engine))
    info = ReferenceInfo(
        name=reference.name,
        model=found[1],
        constitution=constitution_info(reference.constitution),
        seed=config.seed + 1,
    )
    return FoundReference(info, found[0], shared)


def left_out(
    names: Sequence[str], config: RunConfig, spec: EngineSpec | None, model: ModelInfo, reference: FoundReference
) -> dict[str, str]:
    """Tasks of a suite that cannot be run here, with the reason as a sentence: the run says so and goes on without.

    Raises:
        CopsdError: the reason, where the task was asked for by its own name.
    """
    reasons = {
        name: reason
        for name in names
        if task_info(name).reference and (reason := _why_not(name, config, spec, model, reference))
    }
    for name, reason in reasons.items():
        if name in config.task:
            raise CopsdError(reason)
    return reasons


def _why_not(
    name: str, config: RunConfig, spec: EngineSpec | None, model: ModelInfo, reference: FoundReference
) -> str | None:
    info = task_info(name)
    if "grader" in info.judges and config.judge is None:
        return f"Task {name} needs a model that judges: give --judge."
    if not info.white_box:
        return None
    for who, engine in ((config.model, spec), (reference.info.name, reference.spec)):
        if engine is None or engine.engine != "transformers":
            return f"Task {name} needs whole token distributions, which {who} does not give (engine transformers does)."
    if spec is None or reference.spec is None or reference.info.model.weights_digest == model.weights_digest:
        return None
    from copsd_bench.engine.vocabulary import vocabulary_of

    difference = vocabulary_of(spec).difference(vocabulary_of(reference.spec))
    return f"Task {name} compares model and reference token by token, but {difference}." if difference else None
