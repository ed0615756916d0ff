"""The base model's own answers to general and over-refusal prompts: fine-tuned on them, a model stays what it is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Sampling
from copsd_train.corpora.answers import Answer, EngineAnswerer, Question, stream
from copsd_train.corpora.schema import PromptRow, SftRow, constitution_of
from copsd_train.corpora.selection import labels
from copsd_train.corpora.summary import Summary


def own_answers(
    base: EngineAnswerer, rows: Sequence[PromptRow], sampling: Sampling, seed: int, constitution: bool, what: str
) -> list[Answer]:
    """The model's answer to each prompt, given under the row's constitution or without one.

    Args:
        base: the model.
        rows: the prompts.
        sampling: how it answers.
        seed: of the corpus.
        constitution: put each row's constitution around its prompt.
        what: names the work for the progress display.
    """
    questions = [
        Question(
            row.prompt,
            load_constitution(constitution_of(row)).context() if constitution else None,
            stream(seed, "own", row.id),
            image=row.image,
        )
        for row in rows
    ]
    return base.answer(questions, sampling, what)


def preserving_rows(
    base: EngineAnswerer,
    rows: Sequence[PromptRow],
    sampling: Sampling,
    seed: int,
    summary: Summary,
    constitution: bool = False,
    with_context: bool = False,
) -> list[SftRow]:
    """Examples of the model's own answers; those that loop or are empty are left out and counted.

    Args:
        base, rows, sampling, seed, constitution: see `own_answers`.
        summary: counts what is asked and rejected.
        with_context: name the row's constitution as the context of the example.
    """
    answers = own_answers(base, rows, sampling, seed, constitution, "The base model's own answers")
    found = labels([row.prompt for row in rows], [answer.text for answer in answers])
    summary.asked["own answers"] = len(answers)
    summary.rejected["own answers"]["loop or are empty"] = found.count("degenerate")
    provenance = {"branch": "preserving", "author": "base", **origin(base.name, sampling)}
    provenance["answered"] = "with_constitution" if constitution else "without_constitution"
    return [
        sft_row(row, answer, {**provenance, "verdict": label, "tokens": base.tokens(answer.text)}, with_context)
        for row, answer, label in zip(rows, answers, found, strict=True)
        if label != "degenerate"
    ]


def origin(model: str, sampling: Sampling) -> dict[str, Any]:
    """Which weights made a text, and how, for its provenance."""
    given = {name: value for name, value in asdict(sampling).items() if value not in (None, ())}
    return {"model": model, "sampling": given}


def sft_row(row: PromptRow, answer: Answer, provenance: dict[str, Any], with_context: bool) -> SftRow:
    """An answer to a prompt as an example."""
    return SftRow(
        id=row.id,
        prompt=row.prompt,
        context=constitution_of(row) if with_context else None,
        response=answer.text,
        complete=answer.complete,
        kind=row.kind,
        category=row.category,
        provenance={"source": row.source, **provenance},
        image=row.image,
        image_sha256=row.image_sha256,
    )
