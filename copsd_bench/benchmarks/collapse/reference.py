"""What a model is measured against: `base`, `self`, `constitution:NAME`, or another model by name."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from copsd_bench.benchmarks.respond import NO_CONSTITUTION, context_named
from copsd_bench.engine.spec import EngineSpec
from copsd_bench.errors import CopsdError
from copsd_bench.models.remote import is_inspect_model

if TYPE_CHECKING:
    from inspect_ai.model import Model

ROLE = "reference"
"""Inspect model role of a reference with other weights or another adapter; without it the task loads one."""


@dataclass(frozen=True)
class Reference:
    """A parsed `--reference`.

    Attributes:
        name: as given.
        model: another model's name; None for the tested model's own weights.
        adapter: the tested model's adapter stays on.
        constitution: context the reference sees, as `context_named` takes it.
    """

    name: str
    model: str | None
    adapter: bool
    constitution: str


def parse_reference(name: str, constitution: str = NO_CONSTITUTION) -> Reference:
    """What a reference is.

    Args:
        name: `base` (same weights, neither adapter nor constitution), `self` (same everything; only the seed differs),
            `constitution:NAME[@user|@system]` (same weights and adapter, that constitution), or a model's name (which
            sees no constitution).
        constitution: what the tested model sees.

    Raises:
        CopsdError: no such constitution, or the tested model's own.
    """
    kind, colon, rest = name.partition(":")
    if name == "base":
        return Reference(name, None, False, NO_CONSTITUTION)
    if name == "self":
        return Reference(name, None, True, constitution)
    if kind == "constitution" and colon:
        if rest.partition("@")[0] == NO_CONSTITUTION or not rest:
            raise CopsdError("Reference 'constitution:' needs the name of one; for the model without any say 'base'.")
        context_named(rest)
        if rest == constitution:
            raise CopsdError(f"Reference {name!r} is what the tested model sees itself; say 'self' or name another.")
        return Reference(name, None, True, rest)
    return Reference(name, name, False, NO_CONSTITUTION)


def no_base(name: str = "base") -> CopsdError:
    """The error of a reference that would be the tested model itself."""
    return CopsdError(
        f"Reference {name!r} is the model without adapter and constitution, and the tested model has neither; give "
        "--adapter or --constitution, or another reference (`self`, `constitution:NAME`, a model)."
    )


def models_of(name: str, constitution: str = NO_CONSTITUTION) -> "tuple[Model, Model]":
    """The tested model and the reference inside a running task; one and the same where the weights are shared whole.

    Raises:
        CopsdError: the reference is the tested model itself, or cannot be loaded.
    """
    from inspect_ai.model import get_model, model_roles

    tested, reference = get_model(), parse_reference(name, constitution)
    given = model_roles().get(ROLE)
    if given is not None:
        return tested, given[0] if isinstance(given, list) else given
    local = local_spec(tested)
    if reference.model is None:
        if reference.adapter or local is None or local.adapter is None:
            if name == "base" and constitution == NO_CONSTITUTION:
                raise no_base()
            return tested, tested
        plain = replace(local, adapter=None, weights="")
        return tested, get_model(f"copsd/{plain.model}", **plain.model_args())
    if is_inspect_model(reference.model):
        return tested, get_model(reference.model)
    other = EngineSpec(reference.model.removeprefix("copsd/"))
    if local is not None:
        other = replace(other, dtype=local.dtype, device=local.device, batch_size=local.batch_size)
    return tested, get_model(f"copsd/{other.model}", **other.model_args())


def local_spec(model: "Model") -> EngineSpec | None:
    """How a model of this project's own engines was loaded; None for one of another provider."""
    spec = getattr(model.api, "spec", None)
    return spec if isinstance(spec, EngineSpec) else None
