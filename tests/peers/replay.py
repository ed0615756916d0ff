"""Stand-ins for the two things a peer's task reaches over the network for: a model's answers, and the hub's records."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, ModelUsage, get_model

Messages = list[tuple[str, str]]
"""Role and text of each message of a request."""


def replaying(answer: Callable[[str], str], seen: list[Messages] | None = None) -> Model:
    """An API model that gives `answer(text of the last message)`, and notes in `seen` what it was sent."""

    def respond(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        if seen is not None:
            seen.append([(message.role, message.text) for message in input])
        output = ModelOutput.from_content("mockllm", answer(input[-1].text))
        # Without a usage Inspect counts tokens itself, with a vocabulary it downloads.
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    return get_model("mockllm/model", custom_outputs=respond, memoize=False)


def local_hub(splits: Mapping[str, Sequence[dict[str, Any]]]) -> Callable[..., MemoryDataset]:
    """inspect-evals' `hf_dataset` on local records: the same shuffle and order, by the `datasets` library itself."""
    from datasets import Dataset

    def hf_dataset(
        split: str, sample_fields: Callable[[dict[str, Any]], Sample], seed: int | None = None, **options: Any
    ) -> MemoryDataset:
        records = Dataset.from_list(list(splits[split]))
        if options.get("shuffle"):
            records = records.shuffle(seed=seed)
        limit = options.get("limit") or len(records)
        return MemoryDataset([sample_fields(dict(record)) for record in records.select(range(limit))])

    return hf_dataset


def evaluated(
    task: Task, model: Model, logs: Path, limit: int | None = None, judge: Callable[[str], str] | None = None
) -> EvalLog:
    """Evaluate one task, one request at a time, in the data's order; `judge` answers as the role `grader`."""
    roles: dict[str, str | Model] | None = None if judge is None else {"grader": replaying(judge)}
    (log,) = eval(
        task, model=model, model_roles=roles, limit=limit, log_dir=str(logs), display="none", max_connections=1
    )
    assert log.status == "success", log.error
    return log


def by_content(answers: Sequence[str]) -> Callable[[str], str]:
    """An answer chosen by the request's text alone: two peers get the same one whatever the order they ask in."""
    return lambda text: answers[sum(text.encode()) % len(answers)]
