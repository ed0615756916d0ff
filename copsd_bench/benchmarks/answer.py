"""One answer of a model, as everything that measures answers takes it, and its panel statistics."""

import hashlib
from typing import Any

from inspect_ai.model import ModelOutput
from inspect_ai.solver import TaskState
from pydantic import BaseModel, ConfigDict

from copsd_bench.collapse.text import distinct_n, loops, repetition
from copsd_bench.engine.provider import TOKEN_IDS
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.protocol import Unscored, Verdict

REQUEST = "request"
"""Where a sample's metadata keeps the request without an attack or a frame: what judges are shown."""
RECALLED = "responses"
"""Name that stands for the model where answers were recorded, not generated."""
_KNOWN_REASONS = ("stop", "max_tokens", "model_length", "content_filter")


class Answer(BaseModel):
    """An answer with what its provider says of it; None is not known.

    Attributes:
        text: without special tokens.
        tokens, input_tokens: exact counts; `tokens` includes the end-of-sequence token.
        stop_reason: Inspect's.
        ids: the sampled token ids, where the provider hands them over.
        mean_entropy, mean_logprob: nats per token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str
    tokens: int | None = None
    input_tokens: int | None = None
    stop_reason: str = "unknown"
    ids: list[int] | None = None
    mean_entropy: float | None = None
    mean_logprob: float | None = None

    @property
    def truncated(self) -> bool | None:
        """Whether it ran into the token limit or the context window."""
        return self.stop_reason in ("max_tokens", "model_length") if self.stop_reason in _KNOWN_REASONS else None


def answer_of(output: ModelOutput) -> Answer:
    """The (first) answer in a model's output. An API that reports no usage gives an unknown length, never a zero."""
    usage, metadata = output.usage, output.metadata or {}
    # A recorded answer may well have no tokens.
    counted = usage is not None and (usage.total_tokens > 0 or output.model == RECALLED)
    ids: list[list[int]] | None = metadata.get(TOKEN_IDS)
    return Answer(
        text=output.completion,
        tokens=usage.output_tokens if usage is not None and counted else None,
        input_tokens=(usage.input_tokens or None) if usage is not None else None,
        stop_reason=str(output.stop_reason),
        ids=ids[0] if ids else None,
        mean_entropy=metadata.get("mean_entropy"),
        mean_logprob=metadata.get("mean_logprob"),
    )


def replied(output: ModelOutput) -> ModelOutput:
    """The output, if the model replied at all: an empty text is a reply, no choice at all is a failure.

    Raises:
        CopsdError: there is no reply.
    """
    if output.empty:
        raise CopsdError(f"The model gave no reply ({output.error or 'no reason given'}).", ExitCode.RUN)
    return output


def request_of(state: TaskState) -> str:
    """What a sample's user wants, as judges are shown it."""
    return str(state.metadata.get(REQUEST, state.input_text))


def as_requested(state: TaskState) -> TaskState:
    """A sample as a peer's scorer is to read it, which takes the question from the input: without an attack."""
    if REQUEST not in state.metadata:
        return state
    return TaskState(
        model=state.model,
        sample_id=state.sample_id,
        epoch=state.epoch,
        input=request_of(state),
        messages=state.messages,
        target=state.target,
        output=state.output,
        metadata=state.metadata,
    )


def panel_values(answer: Answer, verdict: Verdict | Unscored) -> dict[str, Any]:
    """The panel's fields of a `SampleRow`: length, truncation, refusal, loops, diversity, entropy of one answer.

    Args:
        answer: what came back.
        verdict: the offline refusal judge's.
    """
    refusal = None if isinstance(verdict, Unscored) else verdict
    return {
        "output_tokens": answer.tokens,
        "input_tokens": answer.input_tokens,
        "truncated": answer.truncated,
        "refusal": None if refusal is None else refusal.label,
        "refusal_score": None if refusal is None else refusal.score,
        "loops": loops(answer.text),
        "distinct_1": distinct_n(answer.text, 1),
        "distinct_2": distinct_n(answer.text, 2),
        "repetition": repetition(answer.text),
        "mean_entropy": answer.mean_entropy,
        "mean_logprob": answer.mean_logprob,
        "answer_digest": hashlib.sha256(answer.text.encode()).hexdigest(),
    }
