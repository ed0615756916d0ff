"""What the teacher sees of each row, and the guarantees that it really sees it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.context import SLOT, Context
from copsd_bench.engine.protocol import Prompt
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.candidates import instruction_context
from copsd_train.corpora.schema import PromptRow, constitution_of
from copsd_train.distill_recipe import Teacher
from copsd_train.images import encoded, user_turn

GOLD = (
    f"{SLOT}\n\nFor your eyes only, this is a reference answer to the message above:\n\n{{reference}}\n\n"
    "Answer the message in your own words and do not mention the reference."
)


@dataclass(frozen=True)
class Row:
    """A prompt as student and teacher see it.

    Attributes:
        source: the corpus row.
        student: its prompt without a context.
        teacher: its prompt with the row's context; the student's own where it has none.
        context: name of the context, or None.
    """

    source: PromptRow
    student: Prompt
    teacher: Prompt
    context: str | None


class ContextPolicy:
    """Row -> context: a constitution by category, the reference answer, an instruction by kind and route, or none.

    Args:
        config: of the teacher.
        rows: the whole corpus, of which the masked share is taken: always the same rows for the same seed.
        seed: of the recipe.
    """

    def __init__(self, config: Teacher, rows: Sequence[PromptRow], seed: int) -> None:
        self.config = config
        safety = sorted(
            (hashlib.sha256(f"{seed}:{row.id}".encode()).digest(), row.id) for row in rows if row.kind == "safety"
        )
        self.masked = frozenset(name for _, name in safety[: round(config.masked * len(safety))])

    def __call__(self, row: PromptRow) -> Context | None:
        """The context of a row.

        Raises:
            CopsdError: the row has no reference answer to show.
        """
        if row.kind not in self.config.kinds or row.id in self.masked:
            return None
        match self.config.context:
            case "constitution":
                return load_constitution(constitution_of(row)).context(self.config.placement)
            case "gold":
                if row.reference is None:
                    raise CopsdError(
                        f"Row {row.id!r} has no reference answer for the teacher; add one, or take its kind "
                        f"({row.kind}) out of teacher.kinds.",
                        ExitCode.DATA,
                    )
                return Context("gold", GOLD.replace("{reference}", row.reference))
            case "instruction":
                texts: Mapping[Any, str] = self.config.instructions
                return instruction_context(texts.get(f"{row.kind}/{row.route}") or texts[row.kind])
            case _:
                return None


def build_rows(
    prompts: Sequence[PromptRow], policy: ContextPolicy, engine: TransformersEngine, max_tokens: int
) -> list[Row]:
    """Encode every prompt for student and teacher, and check the guarantees on each.

    Args:
        prompts: the corpus.
        policy: what each row adds for the teacher.
        engine: encodes; student and teacher share its tokenizer and chat template.
        max_tokens: longest completion that has to fit behind either prompt.

    Raises:
        CopsdError: a guarantee does not hold; or the teacher has a context by the recipe, but no row gets one.
    """
    rows = []
    for prompt in prompts:
        context = policy(prompt)
        student = _encoded(engine, prompt, None)
        teacher = student if context is None else _encoded(engine, prompt, context)
        row = Row(prompt, student, teacher, context.name if context else None)
        check_row(row, context, engine, max_tokens)
        rows.append(row)
    if policy.config.context != "none" and all(row.context is None for row in rows):
        kinds = ", ".join(policy.config.kinds)
        raise CopsdError(
            f"No prompt of the corpus gets a context: none is of the kinds {kinds} (teacher.kinds).", ExitCode.DATA
        )
    return rows


def check_row(row: Row, context: Context | None, engine: TransformersEngine, max_tokens: int) -> None:
    """The teacher's prompt holds the whole context and question, differs from the student's, and ends like it.

    Raises:
        CopsdError: which guarantee does not hold, in one sentence.
    """
    where = f"Row {row.source.id!r}"
    for who, prompt in (("student", row.student), ("teacher", row.teacher)):
        if len(prompt.ids) + max_tokens > engine.max_length:
            what = f"with the context {context.name!r} " if context and who == "teacher" else ""
            raise CopsdError(
                f"{where}: the {who}'s prompt {what}has {len(prompt.ids)} tokens and leaves no room for "
                f"{max_tokens} more in the context window of {engine.max_length}; shorten the constitution or the "
                "prompt, or lower rollout.max_tokens."
            )
    if context is None:
        return
    if row.teacher.ids == row.student.ids:
        raise CopsdError(f"{where}: teacher and student see the same tokens although context {context.name!r} is set.")
    if row.teacher.images != row.student.images or _placeholders(row.teacher, engine) != _placeholders(
        row.student, engine
    ):
        raise CopsdError(f"{where}: teacher and student do not see the same image; check the chat template.")
    seen = _squeezed(engine.tokenizer.decode(row.teacher.ids, skip_special_tokens=False))
    whole = context.wrap(row.source.prompt) if context.placement == "user" else context.text
    for part, name in ((whole, f"context {context.name!r}"), (row.source.prompt, "question")):
        if _squeezed(part) not in seen:
            raise CopsdError(f"{where}: the teacher's tokens do not hold the whole {name}; check the tokenizer.")
    # White space around the question is the row's own, not the template's.
    ending = row.student.text.rpartition(row.source.prompt.strip())[2].lstrip()
    if not row.teacher.text.endswith(ending):
        raise CopsdError(
            f"{where}: the teacher's prompt does not end like the student's ({ending[-40:]!r}), so that an answer "
            "would follow another header; use another placement."
        )


def check_pair(student: TransformersEngine, teacher: TransformersEngine) -> None:
    """Student and teacher speak about the same tokens.

    Raises:
        CopsdError: another vocabulary, or other tokens that end an answer.
    """
    if student is teacher:
        return
    sizes = [engine.model.get_output_embeddings().weight.shape[0] for engine in (student, teacher)]
    if sizes[0] != sizes[1] or student.tokenizer.get_vocab() != teacher.tokenizer.get_vocab():
        raise CopsdError("Teacher and student have different vocabularies; use a teacher of the same family.")
    if student.eos_ids != teacher.eos_ids:
        raise CopsdError(
            f"Teacher and student end an answer by different tokens ({sorted(teacher.eos_ids)} and "
            f"{sorted(student.eos_ids)}); make their generation_config.json agree."
        )


def check_gap(rows: Sequence[Row], gaps: Sequence[Sequence[float]], teacher: Teacher) -> None:
    """After the first batch: a context or a direction that changes no log-probability did not reach the teacher.

    Args:
        rows: one a rollout.
        gaps: log p of each completion token under the teacher, minus that under the same weights without context and
            direction.
        teacher: how it looks at them.

    Raises:
        CopsdError: rows have a context or the teacher is steered, and not one token's log-probability differs.
    """
    steered = teacher.intervention != "none"
    told = [gap for row, gap in zip(rows, gaps, strict=True) if steered or row.context is not None]
    if told and not any(value != 0.0 for gap in told for value in gap):
        has, what = ("it is steered", "direction") if steered else ("its prompts hold a context", "context")
        raise CopsdError(
            f"The teacher's log-probabilities are on every token what they are without the {what}, although {has}: the "
            f"{what} does not reach the model.",
            ExitCode.RUN,
        )


def _encoded(engine: TransformersEngine, row: PromptRow, context: Context | None) -> Prompt:
    try:
        return encoded(engine, user_turn(row.prompt, row.image), context)
    except CopsdError as error:
        raise CopsdError(f"Row {row.id!r}: {error}", error.code) from error


def _placeholders(prompt: Prompt, engine: TransformersEngine) -> int:
    """Tokens that stand for pixels; 0 without an image."""
    return prompt.ids.count(engine.placeholder) if prompt.images and engine.placeholder is not None else 0


def _squeezed(text: str) -> str:
    """Without white space, which tokenizers may change."""
    return "".join(text.split())
