"""From a recipe's name or file and `--set a.b=c` to a validated recipe."""

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from copsd_bench.errors import CopsdError, first_problem, unknown_name
from copsd_bench.yaml_file import read_mapping
from copsd_train.recipe import Recipe

RECIPES = Path(__file__).parent / "recipes"
DEMO = RECIPES / "sizes" / "demo.yaml"


def recipe_names() -> list[str]:
    """Names of the packaged recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name: str, overrides: Sequence[str] = (), demo: bool = False) -> Recipe:
    """A packaged recipe by name, or a YAML file, with changes on top.

    Args:
        name: recipe name, or path of a YAML file (which may begin with `extends: NAME`).
        overrides: `a.b=value`, the value read as YAML.
        demo: also apply the demo sizes to the stages the recipe has.

    Raises:
        CopsdError: unknown recipe or key (with the nearest), a value out of range, an impossible combination.
    """
    raw = _raw(name)
    if demo:
        small = read_mapping(DEMO, "Recipe", "extends: copsd")
        corpus, corpora = raw.get("corpus"), small.pop("corpora")
        small["corpus"] = corpora.get(corpus.get("kind"), {}) if isinstance(corpus, Mapping) else {}
        raw = merged(raw, _fitting(raw, small))
    return validated(merged(raw, _together(overrides)), name)


def validated(raw: Mapping[str, Any], name: str) -> Recipe:
    """A recipe of plain data.

    Raises:
        CopsdError: as `load_recipe`.
    """
    _check_keys(Recipe, raw)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        where, what = first_problem(error)
        raise CopsdError(f"Recipe {name} is wrong at {where}: {what}.") from error


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, key by key. A section whose `kind` changes starts anew; null removes a key."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("kind") in (None, old.get("kind")):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> str | None:
    """A sentence part on the first key in which two recipes differ; None if they agree."""
    for key in sorted({*old, *new}):
        here, a, b = f"{path}{key}", old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if found := first_difference(a, b, f"{here}."):
                return found
        elif a != b:
            return f"{here} was {a!r} and is now {b!r}"
    return None


def _fitting(raw: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes for the stages that a recipe has, and in each for the sections that it has."""
    fitting = {}
    for stage, given in sizes.items():
        if stage not in raw:
            continue
        section = _section(Recipe.model_fields[stage].annotation, raw[stage])
        if section is not None:
            if not isinstance(raw[stage], Mapping):
                continue  # the schema will say so
            absent = [k for k in given if k not in raw[stage] and _sections(section.model_fields[k].annotation)]
            given = {key: value for key, value in given.items() if key not in absent}
        fitting[stage] = given
    return fitting


def _raw(name: str, children: Sequence[Path] = ()) -> dict[str, Any]:
    """A recipe as plain data, with all it extends; null removes a key here too."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if path.parent == RECIPES and not path.is_file():
        raise unknown_name("recipe", name, recipe_names())
    if path in children:
        raise CopsdError(f"Recipe {path} extends itself; let it extend another one.")
    raw = read_mapping(path, "Recipe", "extends: copsd")
    parent = raw.pop("extends", None)
    return merged({} if parent is None else _raw(str(parent), (*children, path)), raw)


def _together(overrides: Sequence[str]) -> dict[str, Any]:
    """All overrides as one, so that their order does not matter; of two values of one key the last counts."""
    result: dict[str, Any] = {}
    for override in overrides:
        _lay(parsed(override), result, "")
    return result


def _lay(given: Mapping[str, Any], result: dict[str, Any], path: str) -> None:
    for key, value in given.items():
        inner = [isinstance(each, Mapping) for each in (value, result.get(key, value))]
        if all(inner):
            _lay(value, result.setdefault(key, {}), f"{path}{key}.")
        elif any(inner):
            raise CopsdError(f"--set gives both {path}{key} and keys inside it; give one of them.")
        else:
            result[key] = value


def parsed(override: str) -> dict[str, Any]:
    """`a.b=value` as nested data, the value read as YAML.

    Raises:
        CopsdError: it has another form, or its value is not valid YAML.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise CopsdError(f"--set takes KEY=VALUE, e.g. distill.steps=4, not {override!r}.")
    try:
        value = yaml.load(text, _Numbers)
    except yaml.YAMLError as error:
        raise CopsdError(f"--set {override!r}: the value is not valid YAML; put it in quotes.") from error
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


class _Numbers(yaml.SafeLoader):
    """YAML that reads 1e-5 as a number, as people mean it; YAML 1.1 would want 1.0e-5."""


_Numbers.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Numbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _check_keys(model: type[BaseModel], raw: Any, path: str = "") -> None:
    """Refuse keys the schema does not have, naming the nearest; pydantic would only say that they are extra."""
    if not isinstance(raw, Mapping):
        return
    for key, value in raw.items():
        if key not in model.model_fields:
            raise _unknown_key(model, str(key), path)
        if (section := _section(model.model_fields[key].annotation, value)) is not None:
            _check_keys(section, value, f"{path}{key}.")


def _unknown_key(model: type[BaseModel], key: str, path: str) -> CopsdError:
    """The nearest key of the same section, else the nearest name anywhere in the recipe."""
    anywhere = {dotted.rpartition(".")[2]: dotted for dotted in _all_keys(Recipe)}
    for names in ({name: f"{path}{name}" for name in model.model_fields}, anywhere):
        if near := difflib.get_close_matches(key, names, n=1, cutoff=0.6):
            return CopsdError(f"Unknown recipe key {path + key!r}; did you mean {names[near[0]]!r}?")
    where = f"the keys of {path[:-1]} are" if path else "the keys of a recipe are"
    return CopsdError(f"Unknown recipe key {path + key!r}; {where} {', '.join(model.model_fields)}.")


def _all_keys(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        for section in _sections(field.annotation):
            yield from _all_keys(section, f"{path}{name}.")


def _section(annotation: Any, value: Any) -> type[BaseModel] | None:
    """The section that a value belongs to: of several, the one of its `kind`."""
    sections = _sections(annotation)
    if len(sections) > 1 and isinstance(value, Mapping):
        sections = [s for s in sections if value.get("kind") in get_args(s.model_fields["kind"].annotation)]
    return sections[0] if sections else None


def _sections(annotation: Any) -> list[type[BaseModel]]:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType, Annotated) else (annotation,)
    found = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
    return found + [s for o in options if get_origin(o) in (Union, types.UnionType, Annotated) for s in _sections(o)]
