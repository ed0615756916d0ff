"""A model's verdict on each answer, as an Inspect scorer."""

from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.answer import request_of
from copsd_bench.collapse.text import empty
from copsd_bench.engine.provider import JUDGED, RAW
from copsd_bench.errors import CopsdError
from copsd_bench.judges.formats import Case, JudgeFormat, Message, format_named
from copsd_bench.judges.protocol import Unscored, Verdict
from copsd_bench.judges.registry import role_of

_MESSAGES = {"user": ChatMessageUser, "assistant": ChatMessageAssistant, "raw": ChatMessageUser}


@scorer(metrics={"*": [mean()]}, name="model_judge")
def model_verdict(name: str, number: int = 0) -> Scorer:
    """A judging model's verdict, asked in a format; a reply without one leaves the sample unscored.

    A format that takes harm for granted is asked about harmful requests only; others are unscored.

    Args:
        name: of a judge's format.
        number: of the judge, from 0; the scores of a further one carry its number.
    """
    asked = format_named(name)

    async def score(state: TaskState, target: Target) -> Score:
        if asked.harmful_only and state.metadata.get("group", "harmful") != "harmful":
            return Score.unscored(reason="not a harmful request")
        if empty(state.output.completion):
            # No judge sees silence the same way; it is neither harmful nor of use.
            return Score.unscored(reason="empty answer")
        verdict, reply = await verdict_of(state, asked, number)
        if isinstance(verdict, Unscored):
            return Score.unscored(reason=verdict.reason, explanation=reply)
        measured = asked.measures if number == 0 else f"{asked.measures}_{number + 1}"
        value = {measured: verdict.score, **{f"{measured}_{k}": v for k, v in verdict.values.items()}}
        return Score(value=dict(value), answer=verdict.label, explanation=reply)

    return score


async def verdict_of(
    state: TaskState, asked: JudgeFormat, number: int = 0, temperature: float = 0
) -> tuple[Verdict | Unscored, str]:
    """A judging model's verdict on a sample's answer, and its reply.

    Args:
        state: of an answered sample; its metadata may hold a `reference` and a `warning`.
        asked: how the judge is asked.
        number: of the judge, from 0.
        temperature: of the judge.
    """
    case = Case(
        request_of(state),
        state.output.completion,
        str(state.metadata.get("group", "harmful")),
        *(str(state.metadata.get(name, "")) for name in ("category", "reference", "warning")),
    )
    image = image_of(state) if asked.image else None
    grader = get_model(role=role_of(number), required=True)
    reply = await reply_of(grader, asked, asked.ask(case), image, temperature)
    return asked.read(reply, case), reply


def image_of(state: TaskState) -> ContentImage:
    """The image the question is about.

    Raises:
        CopsdError: the question has none.
    """
    parts = [part for message in state.messages if isinstance(message.content, list) for part in message.content]
    image = next((part for part in parts if isinstance(part, ContentImage)), None)
    if image is None:
        raise CopsdError("This judge is shown the image of a question, and this question has none; choose another.")
    return image


async def reply_of(
    grader: Model,
    asked: JudgeFormat,
    messages: list[Message],
    image: ContentImage | None = None,
    temperature: float = 0,
) -> str:
    """What the judge says, greedily by default; an image stands after the text."""
    sent: list[ChatMessage] = [_MESSAGES[message["role"]](content=message["content"]) for message in messages]
    if image is not None:
        sent[-1] = ChatMessageUser(content=[ContentText(text=sent[-1].text), image])
    wrapping: Any = RAW if messages[0]["role"] == "raw" else asked.template if asked.closed else None
    extra = None if wrapping is None else {JUDGED: wrapping}
    config = GenerateConfig(temperature=temperature, max_tokens=asked.max_tokens, extra_body=extra)
    return str((await grader.generate(sent, config=config)).completion)
