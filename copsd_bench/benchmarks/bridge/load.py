"""lm-eval's tasks, groups and tags by name, on pinned data where there is some."""

import importlib.util
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from copsd_bench.benchmarks.bridge.data import pinned_splits
from copsd_bench.cachedir import cache_dir, write_atomic
from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.sources.loader import Loaded

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

FEWSHOT_SEED = 1234
"""lm-eval's default seed of the draw of few-shot examples."""
HINT = "install it with `pip install 'copsd[lm-eval]'`"


@dataclass
class Leaves:
    """The tasks behind a name.

    Attributes:
        tasks: lm-eval's tasks by name, in its order, each ready to build prompts.
        pinned: the verified records each data set (path, configuration) was made of; hub data is not among them.
    """

    tasks: "dict[str, ConfigurableTask]"
    pinned: dict[tuple[str, str | None], list[Loaded]] = field(default_factory=dict)


def load_leaves(name: str, fewshot: int | None = None) -> Leaves:
    """The tasks of lm-eval behind the name of a task, a group or a tag.

    Args:
        name: as lm-eval knows it.
        fewshot: number of worked examples; None keeps each task's own.

    Raises:
        CopsdError: lm-eval is not installed or has no such name; data that is neither pinned nor reachable; something
            the bridge does not support (which).
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise CopsdError(f"lm_eval/{name} needs lm-eval; {HINT}.")
    for noisy in ("lm_eval", "datasets"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    import datasets
    from lm_eval.tasks import TaskManager

    datasets.disable_progress_bars()
    _compile_once()
    if name not in _folders():
        raise unknown_name("lm-eval task", name, _folders())
    folders = [str(_root() / folder) for folder in _folders()[name]]
    manager = TaskManager(include_path=folders, include_defaults=False) if folders else TaskManager()
    with _pinned_data(name) as pinned:
        try:
            leaves = Leaves(manager.load(name)["tasks"], pinned)
        except CopsdError:
            raise
        except Exception as error:  # tasks run code of their own when they are built
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise CopsdError(f"lm_eval/{name} cannot be built: {first}.", ExitCode.DATA) from error
    for task in leaves.tasks.values():
        _prepare(task, name, fewshot)
    return leaves


def _prepare(task: "ConfigurableTask", name: str, fewshot: int | None) -> None:
    """Refuse what is not supported by name, and set the few-shot examples as lm-eval's evaluator does."""
    from lm_eval.api.task import ConfigurableTask

    title = f"lm_eval/{name}" if task.task_name == name else f"lm_eval/{name} (its part {task.task_name})"
    unsupported = {
        "a task class of its own": not isinstance(task, ConfigurableTask),
        "rolling log-likelihoods": task.OUTPUT_TYPE == "loglikelihood_rolling",
        "images or sound": getattr(task, "MULTIMODAL", False),
        "the execution of the model's code (take humaneval or mbpp)": getattr(task, "UNSAFE_CODE", False),
        "several answers to each item": (task.config.repeats or 1) > 1,
    }
    for what, needed in unsupported.items():
        if needed:
            raise CopsdError(f"{title} needs {what}, which the bridge to lm-eval does not support.")
    if fewshot is not None or task.config.num_fewshot is None:
        task.set_config("num_fewshot", fewshot or 0)
    if task.config.num_fewshot and not task.sampler.df:
        raise CopsdError(f"{title} takes worked examples from a split that is not at hand; run it with 0 of them.")
    task.set_fewshot_seed(FEWSHOT_SEED)


@cache
def _compile_once() -> None:
    """lm-eval compiles a template anew for every field of every document: nine tenths of the time a task is built."""
    from lm_eval.utils import env

    env.from_string = cache(env.from_string)


class _Splits(dict[str, Any]):
    """A data set's splits; one that is not at hand is empty, as most tasks name splits they never use."""

    def __missing__(self, split: str) -> Any:
        from datasets import Dataset

        return Dataset.from_list([])


@contextmanager
def _pinned_data(name: str) -> Iterator[dict[tuple[str, str | None], list[Loaded]]]:
    """While tasks are built, lm-eval's call for a data set finds pinned files first; yields what it found."""
    import datasets

    from copsd_bench.hub import is_offline, is_reachable

    whole, found = datasets.load_dataset, {}

    def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:
        splits = pinned_splits(path, name)
        if splits is not None:
            found[(path, name)] = list(splits.values())
            return _Splits({key: datasets.Dataset.from_list(part.records) for key, part in splits.items()})
        # The hub's client would retry for minutes where nothing answers.
        if not os.path.exists(path) and not options.get("data_files") and not is_offline() and not is_reachable():
            raise CopsdError(
                f"lm_eval/{lm_eval_name} needs the hub's {path}, which is not pinned, and the hub does not answer; "
                "set HF_HUB_OFFLINE=1 if it lies in the hub's cache.",
                ExitCode.DATA,
            )
        return whole(path, name, **options)

    lm_eval_name = name
    datasets.load_dataset = load_dataset
    try:
        yield found
    finally:
        datasets.load_dataset = whole


def _root() -> Path:
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


@cache
def _folders() -> dict[str, list[str]]:
    """Folders below lm-eval's tasks for every name; none where it may take any.

    Kept on disk: to index all of lm-eval's files takes seconds, to index one folder does not.
    """
    path = cache_dir() / f"lm_eval-{version('lm_eval')}-folders.json"
    if path.is_file():
        found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    from lm_eval.tasks import TaskManager

    index = TaskManager().task_index

    def folders(name: str) -> set[str]:
        """Folders of a name and of all below it; a member that is no plain name may be anywhere (empty)."""
        entry = index.get(name)
        if entry is None:
            return {""}
        if entry.yaml_path is None:
            return {folder for member in entry.tags for folder in folders(member)}
        members = (entry.cfg or {}).get("task")
        below = [member for member in members if member != name] if isinstance(members, list) else []
        own = entry.yaml_path.relative_to(_root()).parts[0]
        return {own}.union(*(folders(member) if isinstance(member, str) else {""} for member in below))

    below = {name: folders(name) for name in index}
    table = {name: [] if "" in found else sorted(found) for name, found in below.items()}
    write_atomic(path, json.dumps(table).encode())
    return table
