"""What lm-eval asks for each document, and its verdict on the answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

from copsd_bench.benchmarks.bridge.load import Leaves, load_leaves
from copsd_bench.errors import CopsdError
from copsd_bench.sources.ids import stable_ids

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

Kind = Literal["generate", "loglikelihood"]
Response = str | tuple[float, bool]
"""A generated text, or the log-likelihood in nats of a continuation and whether it is greedy."""

_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


@dataclass
class Item:
    """One document of one of lm-eval's tasks.

    Attributes:
        task: the task it belongs to.
        doc: lm-eval's record.
        requests: what the model is asked: one generation, or one log-likelihood a continuation.
    """

    task: "ConfigurableTask"
    doc: dict[str, Any]
    requests: "list[Instance]"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Context and continuation of each log-likelihood."""
        return [(str(request.args[0]), str(request.args[1])) for request in self.requests]


@dataclass
class Bridged:
    """An lm-eval name, ready to be run.

    Attributes:
        name: of the task, group or tag.
        kind: whether it generates or compares log-likelihoods.
        leaves: lm-eval's tasks behind the name.
        items: by sample id, in lm-eval's order.
        metrics: names of the numbers, as `verdict` gives them, with whether higher is better.
        dropped: metrics of lm-eval that are no means over items.
        generation: stop strings and token limit; empty for log-likelihoods.
    """

    name: str
    kind: Kind
    leaves: Leaves
    items: dict[str, Item]
    metrics: dict[str, bool]
    dropped: list[str]
    generation: dict[str, Any]

    def samples(self) -> list[Sample]:
        """One Inspect sample an item; the input is the prompt as messages, or lm-eval's raw text."""
        return [
            Sample(
                id=identifier,
                input=_messages(item.requests[0].args[0]) if self.kind == "generate" else item.pairs[0][0],
                metadata={"group": "general", "category": item.task.task_name},
            )
            for identifier, item in self.items.items()
        ]


@cache
def bridged(name: str, fewshot: int | None = None) -> Bridged:
    """Build an lm-eval task, group or tag once a process.

    Raises:
        CopsdError: as `load_leaves`; parts that ask in different ways; no metric that is a mean over items.
    """
    leaves = load_leaves(name, fewshot)
    tasks = list(leaves.tasks.values())
    kinds = {"generate" if task.OUTPUT_TYPE == "generate_until" else "loglikelihood" for task in tasks}
    settings = [dict(task.config.generation_kwargs or {}) for task in tasks]
    if len(kinds) > 1 or any(setting != settings[0] for setting in settings):
        raise CopsdError(f"lm_eval/{name} joins tasks that ask in different ways; run its parts one by one.")
    kind: Kind = "generate" if "generate" in kinds else "loglikelihood"
    items = [item for task in tasks for item in _items(task, kind)]
    ids = stable_ids(["\0".join(str(request.args) for request in item.requests) for item in items], prefix=name)
    metrics, dropped = _metrics(tasks)
    if not metrics:
        raise CopsdError(f"lm_eval/{name} has no metric that is a mean over items ({', '.join(dropped) or 'none'}).")
    generation = _generation(settings[0]) if kind == "generate" else {}
    return Bridged(name, kind, leaves, dict(zip(ids, items, strict=True)), metrics, dropped, generation)


def _items(task: "ConfigurableTask", kind: Kind) -> list[Item]:
    """Every document in order: few-shot examples are drawn one document after the other."""
    chat = kind == "generate"
    items = []
    for number, doc in enumerate(task.eval_docs):
        context = task.fewshot_context(
            doc,
            num_fewshot=task.config.num_fewshot,
            apply_chat_template=chat,
            fewshot_as_multiturn=True,
            # In place of a chat template: the messages as they are, which the provider renders.
            chat_template=(lambda messages, **_: messages) if chat else None,
            gen_prefix=task.doc_to_prefix(doc),
        )
        requests = task.construct_requests(
            doc=doc, ctx=context, metadata=(task.task_name, number, 1), apply_chat_template=chat
        )
        items.append(Item(task, dict(doc), requests if isinstance(requests, list) else [requests]))
    return items


def _messages(turns: list[dict[str, str]]) -> list[ChatMessage]:
    return [_MESSAGES[turn["role"]](content=turn["content"]) for turn in turns]


def _generation(settings: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's generation settings in Inspect's names, with lm-eval's defaults."""
    from lm_eval.defaults import DEFAULT_MAX_GEN_TOKS
    from lm_eval.models.utils import normalize_gen_kwargs

    known = normalize_gen_kwargs(settings, DEFAULT_MAX_GEN_TOKS)
    until = known.get("until") or []
    sampled = bool(known.get("do_sample"))
    return {
        "stop_seqs": [stop for stop in until if stop],
        "max_tokens": int(known["max_gen_toks"]),
        "temperature": float(known.get("temperature") or 1.0) if sampled else 0.0,
        **({"top_p": known["top_p"]} if sampled and "top_p" in known else {}),
    }


def _metrics(tasks: "Sequence[ConfigurableTask]") -> tuple[dict[str, bool], list[str]]:
    """Metrics that are means over items (name -> higher is better), and those that are not."""
    from lm_eval.api.metrics import mean, nanmean

    means: dict[str, bool] = {}
    dropped: list[str] = []
    for task in tasks:
        for metric, aggregation in task.aggregation().items():
            if aggregation not in (mean, nanmean):
                dropped.append(metric)
                continue
            for name in _named(metric, [ensemble.name for ensemble in task._filters]):
                means[name] = bool(task.higher_is_better()[metric])
    return means, list(dict.fromkeys(dropped))


def _named(metric: str, filters: Sequence[str]) -> list[str]:
    """`exact_match`, or lm-eval's own `exact_match,strict-match` where answers are extracted in several ways."""
    return [metric] if len(filters) == 1 else [f"{metric},{name}" for name in filters]


def verdict(item: Item, responses: Sequence[Response]) -> dict[str, float]:
    """lm-eval's filters and metrics on the responses to one item: value by metric name (see `Bridged.metrics`).

    Args:
        item: the document.
        responses: one a request, in order.
    """
    task = item.task
    requests = [
        replace(request, resps=[response], filtered_resps={})
        for request, response in zip(item.requests, responses, strict=True)
    ]
    filters = [ensemble.name for ensemble in task._filters]
    for ensemble in task._filters:
        ensemble.apply(requests)
    scores: dict[str, float] = {}
    for name in filters:
        results = task.process_results(item.doc, [request.filtered_resps[name] for request in requests])
        for metric, value in results.items():
            if isinstance(value, bool | int | float) or getattr(value, "ndim", 1) == 0:
                scores[metric if len(filters) == 1 else f"{metric},{name}"] = float(value)
    return scores


def cut(text: str, stops: Sequence[str]) -> str:
    """An answer up to its first stop string, as lm-eval cuts it: a server or a recorded answer may go on."""
    from lm_eval.models.utils import postprocess_generated_text

    return str(postprocess_generated_text(text, list(stops), None))
