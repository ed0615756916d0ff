"""Running a task of the suite `copsd` on a small copy of its data, with stand-ins for models and judges."""

import importlib.metadata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model

from copsd_bench.records.build import task_record
from copsd_bench.records.schema import TaskRecord
from copsd_bench.sources.pins import pins
from copsd_bench.suites import make_task
from tests.benchmarks.pictures import write_sets

N = 4
"""Records of most sets of the copy."""
REFUSAL = "I'm sorry, but I can't help with that."

installed = cache(importlib.metadata.packages_distributions)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    write_sets(folder, N)
    return folder


@pytest.fixture(autouse=True)
def here(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The copy is the mirror, and nothing else is at hand."""
    use(copy, copy / "cache", monkeypatch)
    # Inspect lists all installed packages for each task: once is enough.
    monkeypatch.setattr("inspect_ai._util.package.packages_distributions", installed, raising=False)
    yield
    pins.cache_clear()


def use(mirror: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPSD_DATA_DIR", str(mirror))
    monkeypatch.setenv("COPSD_SOURCES", str(mirror / "sources.yaml"))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pins.cache_clear()


Asked = list[list[ChatMessage]]


def model(answer: Callable[[str], str], seen: Asked | None = None) -> Model:
    """Answers by the text of the last turn, and notes the messages it was sent."""

    def respond(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        if seen is not None:
            seen.append(input)
        output = ModelOutput.from_content("mockllm", answer(input[-1].text))
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/model", custom_outputs=respond, memoize=False)


def log_of(
    name: str, logs: Path, answer: Callable[[str], str], judges: list[Model] = [], epochs: int = 1,  # noqa: B006
    seen: Asked | None = None, other: Model | None = None, **arguments: Any,
) -> EvalLog:  # fmt: skip
    if judges:
        arguments["judge"] = ",".join(["grader"] * len(judges))
    roles = {"grader" if i == 0 else f"grader_{i + 1}": judge for i, judge in enumerate(judges)}
    roles |= {"reference": other} if other is not None else {}
    (log,) = eval(
        make_task(name, **arguments), model(answer, seen), model_roles=roles or None, epochs=epochs, log_dir=str(logs),
        display="none",
    )  # fmt: skip
    return log


def record_of(name: str, logs: Path, answer: Callable[[str], str], *judges: Model, **arguments: Any) -> TaskRecord:
    log = log_of(name, logs, answer, list(judges), **arguments)
    assert log.status == "success", log.error
    return task_record(log, seed=0)


def value(record: TaskRecord, metric: str) -> float | None:
    return record.metrics[metric].value
