"""Ask models for answers: with progress, and with a ledger on disk, so that nothing is asked twice."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from copsd_bench.engine.context import Context
from copsd_bench.engine.images import data_uri
from copsd_bench.engine.protocol import Completion, Engine, Sampling, View
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.digest import file_sha256
from copsd_train.images import encoded, user_turn

T = TypeVar("T")
SELF = "self"
"""Name of the model that is trained, where any model can be named."""


@dataclass(frozen=True)
class Question:
    """A user turn, what is put around it, and the random stream of its answer.

    Attributes:
        prompt: the user turn.
        context: what is put around it.
        seed: random stream of the answer.
        before: earlier exchanges of the conversation, each what the user said and what was answered.
        image: file the prompt is about.
    """

    prompt: str
    context: Context | None
    seed: int
    before: tuple[tuple[str, str], ...] = ()
    image: str | None = None

    def turns(self) -> list[dict[str, Any]]:
        """The conversation without the context."""
        roles = ("user", "assistant")
        earlier = [{"role": r, "content": text} for pair in self.before for r, text in zip(roles, pair, strict=True)]
        return [*earlier, *user_turn(self.prompt, self.image)]

    def messages(self) -> list[dict[str, Any]]:
        """The conversation, with the context in it."""
        return self.context.apply(self.turns()) if self.context else self.turns()


@dataclass(frozen=True)
class Answer:
    """A text, and whether it ended by itself rather than at the token limit."""

    text: str
    complete: bool


class Ledger:
    """Answers had before, by key, in an append-only file. The torn last line of a killed process is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Answer] = {}
        data = path.read_bytes() if path.is_file() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            path.write_bytes(whole)
        for line in whole.splitlines():
            entry = json.loads(line)
            self._answers[entry["key"]] = Answer(entry["text"], entry["complete"])

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def __getitem__(self, key: str) -> Answer:
        return self._answers[key]

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer, at once."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(json.dumps({"key": key, **asdict(answer)}).encode() + b"\n")
        self._answers[key] = answer


class Answerer(Protocol):
    """Somebody who answers questions."""

    @property
    def name(self) -> str: ...

    def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
        """One answer a question, in order; `what` names the work for the progress display."""
        ...


class EngineAnswerer:
    """A view of a model in memory.

    Args:
        engine: the model.
        view: how to look at its weights.
        ledger: answers had before.
        name: identity of weights and view: answers of another one are not taken from the ledger.
    """

    def __init__(self, engine: Engine, view: View, ledger: Ledger, name: str) -> None:
        self.engine = engine
        self.view = view
        self.ledger = ledger
        self.name = name

    def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
        """See `Answerer`; decoded together, each kept as soon as it is finished."""
        prompts = [encoded(self.engine, q.turns(), q.context) for q in questions]
        keys = [
            _key(self.name, p.key if p.images else p.ids, sampling, q.seed)
            for p, q in zip(prompts, questions, strict=True)
        ]
        missing = [i for i, key in enumerate(keys) if key not in self.ledger]
        with progress(what, len(keys), len(keys) - len(missing)) as advance:

            def keep(j: int, completion: Completion) -> None:
                self.ledger.add(keys[missing[j]], Answer(completion.text.strip(), completion.stop_reason == "stop"))
                advance()

            if missing:
                seeds = [questions[i].seed for i in missing]
                self.engine.generate(self.view, [prompts[i] for i in missing], sampling, seeds, keep)
        return [self.ledger[key] for key in keys]

    def tokens(self, text: str) -> int:
        """Length of a text in the model's tokens."""
        return len(self.engine.encode(text).ids) if text else 0


class InspectAnswerer:
    """Any model Inspect knows (`openai/...`), or a local one by name or folder (then on this project's engine).

    Raises:
        CopsdError: there is no such model, or it cannot be used.
    """

    def __init__(self, name: str, ledger: Ledger) -> None:
        import copsd_bench._registry  # noqa: F401  (registers the provider also where the package is not installed)
        from copsd_bench.models.remote import is_inspect_model, provider_model

        self.ledger = ledger
        self.model = provider_model(name if is_inspect_model(name) or name.startswith("copsd/") else f"copsd/{name}")
        self.worker: Any = getattr(self.model.api, "worker", None)  # of a local model; it knows the weights' digest
        self.name = f"{name} {self.worker.identity}" if self.worker else name

    def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
        """See `Answerer`; as many requests in flight as the model's provider allows."""
        keys = [
            _key(self.name, [q.messages(), file_sha256(Path(q.image))] if q.image else q.messages(), sampling, q.seed)
            for q in questions
        ]
        missing = [i for i, key in enumerate(keys) if key not in self.ledger]
        with progress(what, len(keys), len(keys) - len(missing)) as advance:

            async def ask(i: int) -> None:
                self.ledger.add(keys[i], await self._ask(questions[i], sampling))
                advance()

            self.together([ask(i) for i in missing])
        return [self.ledger[key] for key in keys]

    def together(self, requests: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Results of requests to the model, all in flight at once.

        Raises:
            CopsdError: the first of them that failed.
        """

        async def gather() -> list[T]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(request) for request in requests]
            return [task.result() for task in tasks]

        try:
            return asyncio.run(gather())
        except ExceptionGroup as errors:
            first = errors.exceptions[0]
            if isinstance(first, CopsdError):
                raise first from errors
            reason = " ".join(str(first).split())[:200] or type(first).__name__
            raise CopsdError(
                f"Model {self.name} failed while answering ({reason}); the same command continues from here.",
                ExitCode.RUN,
            ) from errors

    async def _ask(self, question: Question, sampling: Sampling) -> Answer:
        from inspect_ai.model import GenerateConfig

        output = await self.model.generate(
            chat_messages(question.messages()),
            config=GenerateConfig(
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p if sampling.top_p < 1 else None,
                seed=question.seed % 2**31,
            ),
        )
        if output.empty:
            raise CopsdError(
                f"Model {self.name} returned no answer ({output.error or 'no reason given'}).", ExitCode.RUN
            )
        return Answer(output.completion.strip(), output.stop_reason not in ("max_tokens", "model_length"))


def chat_messages(conversation: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Messages as Inspect wants them."""
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        Content,
        ContentImage,
        ContentText,
    )

    def part(given: Mapping[str, Any]) -> Content:
        return ContentImage(image=data_uri(Path(given["image"]))) if "image" in given else ContentText(**given)

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    return [
        kinds[m["role"]](content=m["content"] if isinstance(m["content"], str) else [part(p) for p in m["content"]])
        for m in conversation
    ]


def named_answerer(name: str, base: EngineAnswerer) -> "EngineAnswerer | InspectAnswerer":
    """The base model for `self`, else a model as `InspectAnswerer` takes it; they share a ledger."""
    return base if name == SELF else InspectAnswerer(name, base.ledger)


def stream(seed: int, *names: object) -> int:
    """A random stream of its own for each combination of names, in [0, 2**53)."""
    digest = hashlib.sha256(json.dumps([seed, *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8]) >> 11


def _key(name: str, prompt: Any, sampling: Sampling, seed: int) -> str:
    return hashlib.sha256(json.dumps([name, prompt, asdict(sampling), seed]).encode()).hexdigest()[:32]


@contextmanager
def progress(what: str, total: int, done: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error; what is yielded moves it on by one."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda: progress.advance(task)
