"""The model under test and the grader: an engine of ours, or a model of one of Inspect's providers."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copsd_bench.benchmarks.collapse.reference import ROLE, local_spec
from copsd_bench.config import RunConfig
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.judges.formats import format_named
from copsd_bench.judges.registry import JUDGES, role_of, split_judges
from copsd_bench.models.remote import SERVER_CONNECTIONS, check_server, is_inspect_model, provider_model, server_host
from copsd_bench.records.paths import published
from copsd_bench.records.schema import ModelInfo
from copsd_bench.suites import task_info
from copsd_bench.task_table import TASKS

if TYPE_CHECKING:
    from copsd_bench.reference_model import FoundReference
    from copsd_bench.run import Plan

LOCAL_OPTIONS = (
    "adapter",
    "revision",
    "engine",
    "engine_args",
    "dtype",
    "device",
    "batch_size",
    "trust_remote_code",
)
"""Settings that only a local model has."""
FOLDERS = ("hf", "vllm")
"""Inspect's providers whose model may be a folder on this machine."""
SELF = "self"
"""The judge that is the model under test, for those who insist."""


def find_model(config: RunConfig) -> tuple[EngineSpec | None, ModelInfo]:
    """The engine of a local model (None for a model of an Inspect provider) and what the record says about it.

    Raises:
        CopsdError: the model or adapter cannot be used, or an option needs a local model.
    """
    if config.base_url is not None or is_inspect_model(config.model):
        for name in LOCAL_OPTIONS:
            if getattr(config, name) != RunConfig.model_fields[name].get_default(call_default_factory=True):
                option = "--engine-arg" if name == "engine_args" else f"--{name.replace('_', '-')}"
                raise CopsdError(f"{option} needs a local model; {config.model} runs elsewhere.")
        if config.base_url is None:
            return None, ModelInfo(name=config.model, weights_digest=f"api:{config.model}", engine="inspect")
        digest = f"server:{server_host(config.base_url)}/{config.model}"
        if root := check_server(config.base_url, config.model):
            digest += f"@{root}"
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
    if spec.engine == "vllm":
        from copsd_bench.engine.vllm_launch import require_vllm

        require_vllm()
    resolved = spec.resolve()
    if not resolved.template_digest:
        raise CopsdError(
            f"The tokenizer of {config.model} has no chat template; use a chat model, or add `chat_template` to its "
            "tokenizer_config.json (a base model's answers to raw questions are not comparable).",
            ExitCode.MODEL,
        )
    info = ModelInfo(
        name=published(config.model),
        weights_digest=resolved.weights_digest,
        adapter=published(spec.adapter) if spec.adapter else None,
        adapter_digest=resolved.adapter_digest,
        template_digest=resolved.template_digest,
        engine=spec.engine,
        engine_args=spec.engine_args,
        dtype=spec.dtype,
        device=spec.device,
        parameters=count_parameters(resolved.path),
    )
    return replace(spec, weights=resolved.identity), info


def check_judge(config: RunConfig, tasks: Iterable[str]) -> None:
    """Refuse a judge that does not exist, that is the model under test, or that none of the tasks would ask.

    Args:
        config: the run.
        tasks: names of its tasks.

    Raises:
        CopsdError: as said above.
    """
    if config.judge is None or config.judge in JUDGES:
        if config.judge_later:
            raise CopsdError("--judge-later is for a model that judges; name it with --judge.")
        return
    for form, judge in split_judges(config.judge):
        classifies = judge.startswith("classifier/")
        if classifies != bool(form and format_named(form).classifier):
            raise CopsdError(
                f"The judge {form or judge} does not fit: beavertails reads a classifier, every other judge a model "
                "that writes; say beavertails:classifier/OWNER/NAME, or leave classifier/ out."
            )
        if judge == SELF:
            continue
        if not is_inspect_model(judge) and not judge.startswith("copsd/") and not classifies:
            error = unknown_name("judge", judge, JUDGES)
            raise CopsdError(f"{error} A judge is an offline one or an Inspect model (`openai/...`, `copsd/...`).")
        if judge.removeprefix("copsd/") == config.model.removeprefix("copsd/"):
            raise CopsdError(
                f"The judge {judge} is the model under test; choose another judge, or insist with --judge self."
            )
    if not any("grader" in task_info(name).judges for name in tasks):
        graded = ", ".join(name for name, info in TASKS.items() if "grader" in info.judges)
        raise CopsdError(
            f"None of these tasks is graded by a model; leave --judge {config.judge} out (graded: {graded})."
        )


def judge_digests(judge: str | None, tested: ModelInfo) -> dict[str, str]:
    """Content of the judges that are on this machine, by their roles: a name may stand for other weights tomorrow.

    Args:
        judge: as `--judge`.
        tested: the model under test, for those who insist that it judges itself.

    Returns:
        sha256 over weights, tokenizer, template, and the text that a guard was trained on. Judges elsewhere have none.

    Raises:
        CopsdError: a local judge cannot be had.
    """
    if judge is None or judge in JUDGES:
        return {}
    from copsd_bench.judges.guards import published_text
    from copsd_bench.models.digest import file_sha256
    from copsd_bench.models.resolve import resolve_model

    digests = {}
    for number, (form, model) in enumerate(split_judges(judge)):
        provider, _, name = model.partition("/")
        parts = []
        if model == SELF and tested.template_digest:
            parts += [tested.weights_digest, tested.template_digest, tested.adapter_digest or ""]
        elif provider in ("copsd", "classifier") or (provider in FOLDERS and Path(name).is_dir()):
            parts.append(resolve_model(name).identity)
        if (text := published_text(form)) is not None:
            parts.append(file_sha256(text))
        if parts:
            digests[role_of(number)] = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return digests


def inspect_models(planned: "Plan") -> tuple[Any, dict[str, Any]]:
    """The model under test, and the reference by its role, as Inspect models."""
    from inspect_ai.model import get_model

    import copsd_bench._registry  # noqa: F401  (registers the provider also where the package is not installed)

    config = planned.config
    if planned.model.engine == "responses":
        model = None
    elif planned.spec is None:
        model = provider_model(config.model, config.base_url)
    else:
        model = get_model(f"copsd/{planned.spec.model}", **planned.spec.model_args())
    roles: dict[str, Any] = {}
    reference = planned.reference
    if reference is not None and not reference.shared:
        spec = reference.spec
        roles[ROLE] = (
            provider_model(reference.info.name)
            if spec is None
            else get_model(f"copsd/{spec.model}", **spec.model_args())
        )
    return model, roles


def elsewhere(config: RunConfig, tested: ModelInfo, reference: "FoundReference | None") -> list[str]:
    """Names of a run's models that Inspect's providers answer for: tested, reference and judges."""
    names = [config.model] if tested.engine == "inspect" else []
    if reference is not None and reference.spec is None and not reference.shared:
        names.append(reference.info.name)
    if config.judge is not None and config.judge not in JUDGES:
        names += [name for _, name in split_judges(config.judge) if name != SELF]
    return names


def judge_models(planned: "Plan", model: Any) -> dict[str, Any]:
    """The models that judge, by their roles.

    Args:
        planned: the run.
        model: the one under test, for those who insist that it judges itself.
    """
    judge = planned.config.judge
    if judge is None or judge in JUDGES:
        return {}
    named = [name for _, name in split_judges(judge)]
    return {role_of(i): model if name == SELF else provider_model(name) for i, name in enumerate(named)}


def connections(planned: "Plan", models: Sequence[Any]) -> int | None:
    """Requests in flight. Inspect would start with few and grow: a batch wants all its rows at once.

    Args:
        planned: the run.
        models: that are asked; the first of this project's own says how many rows it decodes together.
    """
    own = [model.api.max_connections() for model in models if model is not None and local_spec(model) is not None]
    if own:
        return int(own[0])
    return planned.config.max_connections or (SERVER_CONNECTIONS if planned.model.engine == "server" else None)
