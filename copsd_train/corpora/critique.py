"""The corpus of constitutional AI's supervised phase (arXiv 2212.08073, section 3): draft -> critique -> revision.

The model answers a safety prompt, is asked by a principle for a critique of its answer, and then to write it again.
Prompt and revision have the form of prompt and draft, so the step repeats, each time with another principle. What the
student learns are the revisions, and its own answers to general and over-refusal prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from copsd_bench.cachedir import write_atomic
from copsd_bench.collapse.text import words
from copsd_bench.engine.protocol import Engine, Sampling, View
from copsd_train.corpora.answers import SELF, Answer, Answerer, EngineAnswerer, Ledger, Question, named_answerer, stream
from copsd_train.corpora.own_answers import origin, own_answers, preserving_rows, sft_row
from copsd_train.corpora.preamble import strip_preamble
from copsd_train.corpora.prompts import CorpusConfig, load_rows
from copsd_train.corpora.sample_sheet import Step, sheet_beside, write_sheet
from copsd_train.corpora.schema import PairRow, PromptRow, SftRow, pairs_beside, require_both_sides, write_rows
from copsd_train.corpora.selection import copies, labels
from copsd_train.corpora.summary import Summary
from copsd_train.principles import PACKAGED, Demonstration, Principle, Principles, load_principles


class CritiqueConfig(CorpusConfig):
    """Settings of the builder.

    Attributes:
        principles: the packaged ones, or a file.
        revisions: steps a prompt, each with a principle of its own.
        keep: learn the revisions of `all` steps, or the `last` one only.
        direct: revise without a critique before it.
        few_shot: demonstrations of the principles' file shown before each step.
        critic, reviser: who writes critiques and who revisions: `self`, or a model: local or Inspect's (`openai/...`).
        temperature: of every text.
        max_tokens: of any text.
    """

    writes_pairs: ClassVar[bool] = True
    sees_images: ClassVar[bool] = False
    kind: Literal["critique"] = "critique"
    principles: str = PACKAGED
    revisions: int = Field(default=1, ge=1, le=4)
    keep: Literal["all", "last"] = "all"
    direct: bool = False
    few_shot: int = Field(default=0, ge=0)
    critic: str = SELF
    reviser: str = SELF
    temperature: float = Field(default=1.0, ge=0)
    max_tokens: int = Field(default=512, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.direct and self.critic != SELF:
            raise ValueError("direct writes no critique, so that critic is not asked; name the model as reviser")
        return self

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return Sampling(self.max_tokens, self.temperature)


@dataclass(frozen=True)
class Authors:
    """Who writes drafts, critiques and revisions."""

    base: EngineAnswerer
    critic: Answerer
    reviser: Answerer


@dataclass
class Chain:
    """What became of one prompt: its draft, and each accepted revision with the texts on the way to it."""

    row: PromptRow
    draft: Answer
    revisions: list["Revision"] = field(default_factory=list)

    @property
    def latest(self) -> Answer:
        """The text that the next step revises."""
        return self.revisions[-1].answer if self.revisions else self.draft


@dataclass(frozen=True)
class Revision:
    """One step: number, principle, critique (None if direct), and the revision without its preamble."""

    step: int
    principle: Principle
    critique: str | None
    answer: Answer


def build_critique(
    config: CritiqueConfig, engine: Engine, out: Path, view: View = View(), identity: str = "base"
) -> Path:
    """Build the corpus; the same call continues a build that was interrupted at any moment.

    Args:
        config: settings.
        engine: the model that drafts.
        out: the corpus, `.jsonl` or `.parquet` (rows are `SftRow`). Beside it come `pairs.jsonl` (last revision over
            draft, `PairRow`), `samples.md`, `<out>.summary.json`, and `<out>.work`, the answers had so far.
        view: how to look at the engine's weights.
        identity: digest of weights and view.

    Returns:
        `out`.

    Raises:
        CopsdError: unusable prompts or principles, an overlap with a benchmark, an unknown model; no revision was left.
    """
    rows = load_rows(config)
    principles = load_principles(config.principles)
    shown = principles.demonstrated(config.few_shot)
    base = EngineAnswerer(engine, view, Ledger(out.with_name(out.name + ".work")), identity)
    authors = Authors(base, named_answerer(config.critic, base), named_answerer(config.reviser, base))
    summary = Summary()
    preserved = preserving_rows(
        base, [row for row in rows if row.kind != "safety"], config.sampling, config.seed, summary
    )
    chains = _drafts(config, base, [row for row in rows if row.kind == "safety"], summary)
    for step in range(1, config.revisions + 1):
        _revise(config, authors, principles, shown, chains, step, summary)
    revised = [chain for chain in chains if chain.revisions]
    summary.tokens = {
        "base": [base.tokens(chain.draft.text) for chain in revised],
        "revised": [base.tokens(chain.latest.text) for chain in revised],
    }
    found = _examples(config, authors, revised)
    corpus = preserved + [row for row, _ in found]
    write_atomic(out.with_name(out.name + ".summary.json"), summary.json(corpus))
    require_both_sides(corpus, f"The corpus {out}, after {summary.rejections()},")
    write_sheet(sheet_beside(out), corpus, {row.id: steps for row, steps in found})
    write_rows(pairs_beside(out), [_pair(config, authors, chain) for chain in revised])
    write_rows(out, corpus)
    return out


def _drafts(config: CritiqueConfig, base: EngineAnswerer, rows: Sequence[PromptRow], summary: Summary) -> list[Chain]:
    answers = own_answers(base, rows, config.sampling, config.seed, False, "Drafts")
    found = labels([row.prompt for row in rows], [answer.text for answer in answers])
    summary.asked["drafts"] = len(answers)
    summary.rejected["drafts"]["loop or are empty"] = found.count("degenerate")
    drafted = zip(rows, answers, found, strict=True)
    return [Chain(row, answer) for row, answer, label in drafted if label != "degenerate"]


def _revise(
    config: CritiqueConfig,
    authors: Authors,
    principles: Principles,
    shown: Sequence[Demonstration],
    chains: Sequence[Chain],
    step: int,
    summary: Summary,
) -> None:
    """One step of every chain; a chain whose revision is rejected keeps what it had, and goes on from there."""
    drawn = [principles.draw(chain.row.kind, stream(config.seed, "principle", chain.row.id, step)) for chain in chains]
    opening = [turn for demonstration in shown for turn in _demonstrated(principles, demonstration, config.direct)]
    before = [(*opening, (chain.row.prompt, chain.latest.text)) for chain in chains]
    critiques: list[str | None] = [None] * len(chains)
    if not config.direct:
        asked = [principle.critique for principle in drawn]
        answers = _ask(config, authors.critic, chains, asked, before, "critique", step)
        critiques = [answer.text for answer in answers]
        before = [
            (*turns, (request, answer.text)) for turns, request, answer in zip(before, asked, answers, strict=True)
        ]
    requests = [principle.revision for principle in drawn]
    answers = _ask(config, authors.reviser, chains, requests, before, "revision", step)
    texts = [strip_preamble(answer.text) for answer in answers]
    found = labels([chain.row.prompt for chain in chains], texts)
    summary.asked["revisions"] += len(texts)
    for chain, principle, critique, answer, text, label in zip(
        chains, drawn, critiques, answers, texts, found, strict=True
    ):
        if fault := _fault(chain, principle, text, label):
            summary.rejected["revisions"][fault] += 1
        else:
            chain.revisions.append(Revision(step, principle, critique, Answer(text, answer.complete)))


def _ask(
    config: CritiqueConfig,
    who: Answerer,
    chains: Sequence[Chain],
    requests: Sequence[str],
    before: Sequence[tuple[tuple[str, str], ...]],
    what: str,
    step: int,
) -> list[Answer]:
    questions = [
        Question(request, None, stream(config.seed, what, chain.row.id, step), turns)
        for chain, request, turns in zip(chains, requests, before, strict=True)
    ]
    return who.answer(questions, config.sampling, f"{what.capitalize()}s, step {step} of {config.revisions}")


def _demonstrated(principles: Principles, demonstration: Demonstration, direct: bool) -> list[tuple[str, str]]:
    principle = principles.named(demonstration.principle)
    critique = [] if direct else [(principle.critique, demonstration.critique)]
    return [(demonstration.prompt, demonstration.draft), *critique, (principle.revision, demonstration.revision)]


def _fault(chain: Chain, principle: Principle, text: str, label: str) -> str | None:
    """Why a revision must not be learned from, or None."""
    if label == "degenerate":
        return "loop or are empty"
    if words(text) in (words(chain.latest.text), words(chain.draft.text)):
        return "change nothing"
    if copies(text, principle.critique) or copies(text, principle.revision):
        return "repeat their instruction"
    return None


def _examples(config: CritiqueConfig, authors: Authors, chains: Sequence[Chain]) -> list[tuple[SftRow, list[Step]]]:
    """Each revision to learn, with the texts that led to it."""
    first = 0 if config.keep == "all" else -1
    taken = [(chain, i) for chain in chains for i in range(len(chain.revisions))[first:]]
    answers = [chain.revisions[i].answer for chain, i in taken]
    verdicts = labels([chain.row.prompt for chain, _ in taken], [answer.text for answer in answers])
    found = []
    for (chain, i), answer, verdict in zip(taken, answers, verdicts, strict=True):
        provenance = _provenance(config, authors, chain, i)
        provenance |= {"verdict": verdict, "tokens": authors.base.tokens(answer.text)}
        row = sft_row(chain.row, answer, provenance, with_context=False)
        found.append((row.model_copy(update={"id": f"{row.id}~{chain.revisions[i].step}"}), _steps(chain, i)))
    return found


def _steps(chain: Chain, last: int) -> list[Step]:
    """What led to a revision, for the sheet."""
    revision = chain.revisions[last]
    earlier = Step("Revised", chain.revisions[last - 1].answer.text) if last else Step("Draft", chain.draft.text)
    principle = Step(f"Principle {revision.principle.id}", revision.principle.revision)
    critique = [] if revision.critique is None else [Step("Critique", revision.critique)]
    return [earlier, principle, *critique]


def _provenance(config: CritiqueConfig, authors: Authors, chain: Chain, last: int) -> dict[str, object]:
    return {
        "branch": "revision",
        "step": chain.revisions[last].step,
        "principles": [revision.principle.id for revision in chain.revisions[: last + 1]],
        **origin(authors.base.name, config.sampling),
        "critic": None if config.direct else authors.critic.name,
        "reviser": authors.reviser.name,
    }


def _pair(config: CritiqueConfig, authors: Authors, chain: Chain) -> PairRow:
    """The last revision over the draft: cheap, but how the reviser writes becomes a part of what is learned."""
    return PairRow(
        id=chain.row.id,
        prompt=chain.row.prompt,
        chosen=chain.latest.text,
        rejected=chain.draft.text,
        chosen_complete=chain.latest.complete,
        rejected_complete=chain.draft.complete,
        kind=chain.row.kind,
        category=chain.row.category,
        provenance={"source": chain.row.source, **_provenance(config, authors, chain, len(chain.revisions) - 1)},
    )
