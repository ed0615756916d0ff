"""A model's verdict on each answer, as an Inspect scorer."""

from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from copsd_bench.benchmarks.attack import REQUEST
from copsd_bench.collapse.text import empty
from copsd_bench.engine.provider import JUDGED, RAW
from copsd_bench.judges.formats import Case, JudgeFormat, Message, format_named
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import role_of

_MESSAGES = {"user": ChatMessageUser, "assistant": ChatMessageAssistant, "raw": ChatMessageUser}


@scorer(metrics={"*": [mean()]}, name="model_judge")
def model_verdict(name: str, number: int = 0) -> Scorer:
    """A judging model's verdict, asked in a format; a reply without one leaves the sample unscored.

    Args:
        name: of a judge's format.
        number: of the judge, from 0; the scores of a further one carry its number.
    """
    asked = format_named(name)

    async def score(state: TaskState, target: Target) -> Score:
        case = Case(
            str(state.metadata.get(REQUEST, state.input_text)),
            state.output.completion,
            str(state.metadata.get("group", "harmful")),
            str(state.metadata.get("category", "")),
        )
        if empty(case.answer):
            # No judge sees silence the same way; it is neither harmful nor of use.
            return Score.unscored(reason="empty answer")
        reply = await reply_of(get_model(role=role_of(number), required=True), asked, asked.ask(case))
        verdict = asked.read(reply, case)
        if isinstance(verdict, Unscored):
            return Score.unscored(reason=verdict.reason, explanation=reply)
        measured = asked.measures if number == 0 else f"{asked.measures}_{number + 1}"
        value = {measured: verdict.score, **{f"{measured}_{k}": v for k, v in verdict.values.items()}}
        return Score(value=dict(value), answer=verdict.label, explanation=reply)

    return score


async def reply_of(grader: Model, asked: JudgeFormat, messages: list[Message]) -> str:
    """What the judge says, greedily."""
    sent: list[ChatMessage] = [_MESSAGES[message["role"]](content=message["content"]) for message in messages]
    wrapping: Any = RAW if messages[0]["role"] == "raw" else asked.template if asked.closed else None
    extra = None if wrapping is None else {JUDGED: wrapping}
    config = GenerateConfig(temperature=0, max_tokens=asked.max_tokens, extra_body=extra)
    return str((await grader.generate(sent, config=config)).completion)
