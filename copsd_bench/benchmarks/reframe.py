"""Answering by reframing at inference (SHARD's comparison arms, arXiv 2606.15517): `copsd-bench run --respond ...`.

The tested model itself rewrites each prompt, and then answers the rewritten prompt (`rewrite`), or answers the original
one and refines that answer with the rewritten prompt as a guide (`rewrite-refine`).
"""

from dataclasses import dataclass
from typing import Any, get_args

from inspect_ai import Task
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, ContentText, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.answer import replied
from copsd_bench.benchmarks.choices import around
from copsd_bench.benchmarks.respond import NO_CONSTITUTION, sample_seed
from copsd_bench.benchmarks.task import KEY, TaskSpec
from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.guidelines import Extent, load_guidelines
from copsd_bench.judges.protocol import Unscored
from copsd_bench.records.schema import RESPONSE_MODE, UNREADABLE
from copsd_bench.reframing import (
    ATTEMPTS,
    REWRITE_TOKENS,
    TEMPERATURE,
    Rewrite,
    parse_rewrite,
    refiner_turns,
    rewriter_turns,
    texts_digest,
)

DIRECT = "direct"
REWRITE, REFINE = "rewrite", "rewrite-refine"


@dataclass(frozen=True)
class Arm:
    """A way to answer by reframing.

    Attributes:
        refine: refine an answer to the original prompt; else answer the rewritten one.
        guidelines: what the rewriter goes by.
    """

    refine: bool
    guidelines: Extent = "all"

    @classmethod
    def named(cls, name: str) -> "Arm":
        """`rewrite` or `rewrite-refine`, and after `@` how much of the guidelines: `all`, `general` or `none`.

        Raises:
            CopsdError: there is no such arm or extent (with the nearest).
        """
        arm, _, extent = name.partition("@")
        if arm not in (REWRITE, REFINE):
            raise unknown_name("way to respond", arm, (DIRECT, REWRITE, REFINE))
        if extent and extent not in get_args(Extent):
            raise unknown_name("extent of the guidelines", extent, get_args(Extent))
        return cls(arm == REFINE, extent or "all")  # type: ignore[arg-type]

    def id(self) -> str:
        """For records: the arm, and a digest of all texts it asks with."""
        guidelines = load_guidelines()
        rules = "\0".join(guidelines.rules(category, self.guidelines) for category in ("", *guidelines.categories))
        return f"{REFINE if self.refine else REWRITE}@{self.guidelines}-{texts_digest(rules)[:8]}"


def reframed(task: Task, name: str, seed: int) -> Task:
    """The task, answered by reframing.

    Args:
        task: any task of this project that generates one answer a sample.
        name: see `Arm.named`.
        seed: of the samples' random streams.

    Raises:
        CopsdError: no such arm; the task compares rollouts or log-likelihoods; or it sees a constitution already.
    """
    arm = Arm.named(name)
    spec = TaskSpec.model_validate((task.metadata or {})[KEY])
    if spec.summary or "score" in spec.needs:
        raise CopsdError(f"Task {task.name} does not ask for one answer a prompt: --respond {name} has no place there.")
    if spec.constitution != NO_CONSTITUTION:
        raise CopsdError(f"--respond {name} brings guidelines of its own; leave --constitution out.")
    spec.notes.append(f"answered by {name}: output tokens are of the last call only")
    spec.respond = arm.id()
    task.metadata = {**(task.metadata or {}), KEY: spec.model_dump(mode="json")}
    task.solver = around(task.solver, reframe(arm.refine, arm.guidelines, seed))
    return task


@solver
def reframe(refine: bool, guidelines: Extent, seed: int = 0) -> Solver:
    """Takes the place of one call of the model.

    The response mode goes into the sample's metadata. The conversation shows the original prompt and the answer.

    Args:
        refine, guidelines: see `Arm`.
        seed: as for `respond`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = list(state.messages)
        prompt = _last_user(asked).text
        rules = load_guidelines().rules(str(state.metadata.get("category", "")), guidelines)
        rewrite = await _rewritten(prompt, rules, seed, state)
        state.metadata[RESPONSE_MODE] = rewrite.response_mode if rewrite else UNREADABLE
        if rewrite is None:
            return await generate(state)
        if refine:
            state = await generate(state)
            [(_, draft)], last = refiner_turns(prompt, rewrite, state.output.completion)
            until = asked.index(_last_user(asked)) + 1  # without a reply that was begun for the model
            state.messages = [*asked[:until], ChatMessageAssistant(content=draft), ChatMessageUser(content=last)]
        else:
            state.messages = _asking(asked, rewrite.rewritten_prompt)
        state = await generate(state)
        state.messages = [*asked, ChatMessageAssistant(content=state.output.completion)]
        return state

    return solve


async def _rewritten(prompt: str, rules: str, seed: int, state: TaskState) -> Rewrite | None:
    """The tested model's rewrite; broken ones are asked for anew, with another random stream."""
    before, last = rewriter_turns(prompt, rules)
    turns: list[ChatMessage] = []
    for message, reply in before:
        turns += [ChatMessageUser(content=message), ChatMessageAssistant(content=reply)]
    for attempt in range(ATTEMPTS):
        config = GenerateConfig(
            max_tokens=REWRITE_TOKENS,
            temperature=TEMPERATURE,
            seed=sample_seed(seed, f"{state.sample_id}/rewrite/{attempt}", state.epoch),
        )
        output = replied(await get_model().generate([*turns, ChatMessageUser(content=last)], config=config))
        if not isinstance(rewrite := parse_rewrite(output.completion), Unscored):
            return rewrite
    return None


def _last_user(messages: list[ChatMessage]) -> ChatMessageUser:
    return next(message for message in reversed(messages) if isinstance(message, ChatMessageUser))


def _asking(messages: list[ChatMessage], text: str) -> list[ChatMessage]:
    """The conversation with another text in its last user turn; images stay."""
    last = _last_user(messages)
    at = messages.index(last)
    content: Any = text
    if not isinstance(last.content, str):
        content = [ContentText(text=text), *(part for part in last.content if not isinstance(part, ContentText))]
    return [*messages[:at], ChatMessageUser(content=content), *messages[at + 1 :]]
