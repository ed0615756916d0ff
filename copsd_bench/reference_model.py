"""The reference of a run: which model it is, and which tasks of the suite `collapse` can be run against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.benchmarks.collapse.reference import no_base, parse_reference
from copsd_bench.benchmarks.respond import constitution_info
from copsd_bench.config import RunConfig
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError
from copsd_bench.models.remote import is_inspect_model
from copsd_bench.models.vocabulary import vocabulary_difference
from copsd_bench.records.schema import ModelInfo, ReferenceInfo
from copsd_bench.suites import TASKS
from copsd_bench.tested_model import find_model

ENGINE_SETTINGS = {"engine", "engine_args", "dtype", "device", "batch_size", "trust_remote_code"}
"""Settings of the tested model's engine that another local model takes over."""


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


def check_rollout_options(config: RunConfig, names: Sequence[str]) -> bool:
    """Whether some of the tasks measure against a reference.

    Raises:
        CopsdError: they do and `--reference` is missing, or `--epochs` is given; or none does, and an option of theirs
            is given.
    """
    measured = [name for name in names if TASKS[name].reference]
    if not measured:
        for option in ("reference", "rollouts", "embedding_model"):
            if getattr(config, option) is not None:
                flag = f"--{option.replace('_', '-')}"
                raise CopsdError(f"{flag} is for the tasks of the suite collapse; none of them is to be run.")
        return False
    if config.reference is None:
        raise CopsdError(
            f"Task {measured[0]} measures the model against another: give --reference base, self, constitution:NAME, "
            "or a model."
        )
    if config.epochs > 1:
        raise CopsdError("--epochs does not fit the tasks of the suite collapse; --rollouts says how many answers.")
    return True


def rollout_arguments(config: RunConfig) -> dict[str, Any]:
    """Arguments of the tasks of the suite `collapse`, beside those of every task."""
    given = config.model_dump(include={"reference", "rollouts", "max_tokens", "temperature", "top_p"})
    given |= {"prompts": None if config.prompts is None else str(config.prompts), "cached": True}
    return {name: value for name, value in given.items() if value is not None}


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


def why_not(name: str, config: RunConfig, spec: EngineSpec | None, reference: FoundReference) -> str | None:
    """Why a task of the suite `collapse` cannot be run here, as a sentence; None if it can."""
    info = TASKS[name]
    if "grader" in info.judges and config.judge is None:
        return f"Task {name} needs a model that judges: give --judge."
    if not info.white_box:
        return None
    for who, engine in ((config.model, spec), (reference.info.name, reference.spec)):
        if engine is None or engine.engine != "transformers":
            return (
                f"Task {name} needs every token's distribution, which {who} does not give here (engine transformers)."
            )
    assert spec is not None
    assert reference.spec is not None
    difference = vocabulary_difference(spec, reference.spec)
    return None if difference is None else f"Task {name} compares distributions token by token: {difference}."
