"""The Cross-SFT corpus (COPSD, arXiv 2606.03089, section 4.1 and Alg. 1): what the teacher is fine-tuned on.

Every row carries a constitution; where its answer comes from is crossed. General and over-refusal prompts keep the
base model's own answer, so that the teacher stays what the base is. Safety prompts get an answer of a better author,
rewritten by the base model in its own style and chosen by length, so that only its substance is new.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from copsd_bench.cachedir import write_atomic
from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Engine, Sampling, View
from copsd_bench.judges.registry import JUDGES
from copsd_train.corpora.answers import Answer, Answerer, EngineAnswerer, InspectAnswerer, Ledger, Question, stream
from copsd_train.corpora.lengths import match_lengths
from copsd_train.corpora.own_answers import origin, own_answers, preserving_rows, sft_row
from copsd_train.corpora.prompts import CorpusConfig, load_rows
from copsd_train.corpora.sample_sheet import sheet_beside, write_sheet
from copsd_train.corpora.schema import PromptRow, SftRow, constitution_of, require_both_sides, write_rows
from copsd_train.corpora.selection import FILE, labels, rewrite_faults, select
from copsd_train.corpora.summary import Summary

BASE = "base"
"""The base model under the constitution, as an author of answers to safety prompts."""
REWRITE = """Here is a message and a draft of the answer to it.

Message: {prompt}

Draft: {draft}

Write the answer again in your own words and your own style, in about {words} words. Keep what the draft says: what it \
declines stays declined, what it warns of stays a warning, what it explains stays explained. Write the answer only."""


class CrossSftConfig(CorpusConfig):
    """Settings of the builder. The paper (which draws 5,000 rows in all) leaves those without a source here open.

    Attributes:
        preserving: how the base model answers general and over-refusal prompts: `without_constitution` (Alg. 1) or
            `with_constitution` (App. B.1; such answers already have the contraction that a constitution brings).
        candidates: authors of answers to safety prompts, the most trusted first: `file` (the row's own reference),
            `base` (the base model under the constitution), or models: local ones or Inspect's (`openai/...`).
        judge: `refusal` (offline: rules alone; the first candidate without a fault is taken), or a model that compares
            candidates pairwise.
        rewrite: have the base model rewrite the chosen answer; false keeps the answer itself.
        rewrites: attempts a row, from which lengths are matched.
        temperature: of the base model's own answers. At 1 they are draws from its distribution, on which fine-tuning
            changes nothing on average; below, they are narrower.
        rewrite_temperature: of rewrites.
        max_tokens: of any answer.
    """

    kind: Literal["cross_sft"] = "cross_sft"
    preserving: Literal["without_constitution", "with_constitution"] = "without_constitution"
    candidates: list[str] = Field(default=["file"], min_length=1)
    judge: str = "refusal"
    rewrite: bool = True
    rewrites: int = Field(default=4, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    rewrite_temperature: float = Field(default=0.7, ge=0)
    max_tokens: int = Field(default=512, ge=1)

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn, rewrites apart."""
        return Sampling(self.max_tokens, self.temperature)

    @property
    def rewrite_sampling(self) -> Sampling:
        """How rewrites are drawn."""
        return Sampling(self.max_tokens, self.rewrite_temperature)


def build_cross_sft(
    config: CrossSftConfig, engine: Engine, out: Path, view: View = View(), identity: str = "base"
) -> Path:
    """Build the corpus; the same call continues a build that was interrupted at any moment.

    Args:
        config: settings.
        engine: the base model.
        out: the corpus, `.jsonl` or `.parquet` (rows are `SftRow`). Beside it come `<out>.work`, the answers had so
            far, `<out>.summary.json` (`Summary`) and `samples.md`, examples for people.
        view: how to look at the engine's weights.
        identity: digest of weights and view: another model's answers are never taken from an old `<out>.work`.

    Returns:
        `out`.

    Raises:
        CopsdError: unusable prompts, an overlap with a benchmark, an unknown model; no safety row was left.
    """
    rows = load_rows(config)
    ledger = Ledger(out.with_name(out.name + ".work"))
    base = EngineAnswerer(engine, view, ledger, identity)
    models = [name for name in (*config.candidates, config.judge) if name not in (FILE, BASE, *JUDGES)]
    others = {name: InspectAnswerer(name, ledger) for name in models}  # who is not there is missed before the work
    summary = Summary()
    preserved = preserving_rows(
        base, [row for row in rows if row.kind != "safety"], config.sampling, config.seed, summary,
        config.preserving == "with_constitution", with_context=True,
    )  # fmt: skip
    safe = _safety_branch(config, base, others, [row for row in rows if row.kind == "safety"], summary)
    corpus = preserved + safe
    write_atomic(out.with_name(out.name + ".summary.json"), summary.json(corpus))
    require_both_sides(corpus, f"The corpus {out}, after {summary.rejections()},")
    write_sheet(sheet_beside(out), corpus)
    write_rows(out, corpus)
    return out


def _safety_branch(
    config: CrossSftConfig,
    base: EngineAnswerer,
    others: Mapping[str, Answerer],
    rows: Sequence[PromptRow],
    summary: Summary,
) -> list[SftRow]:
    """Chosen answers to safety prompts, rewritten by the base model and matched to the lengths of its own."""
    authors = {BASE: base, **others}
    candidates = {name: _candidates(config, name, authors.get(name), rows) for name in config.candidates}
    summary.asked["candidates"] = sum(answer is not None for answers in candidates.values() for answer in answers)
    chosen = select(rows, candidates, others.get(config.judge), config.seed, summary.rejected["candidates"])
    drafts = [(row, *pick) for row, pick in zip(rows, chosen, strict=True) if pick is not None]
    own = own_answers(
        base, [row for row, _, _ in drafts], config.sampling, config.seed, False,
        "Its answers to safety prompts, for lengths",
    )  # fmt: skip
    targets = [base.tokens(answer.text) for answer in own]
    if config.rewrite:
        options = _rewrites(config, base, [(row, draft) for row, _, draft in drafts], targets, summary)
    else:
        options = [[draft] for _, _, draft in drafts]
    left = [i for i, texts in enumerate(options) if texts]
    lengths = [[base.tokens(text.text) for text in options[i]] for i in left]
    picks = match_lengths([targets[i] for i in left], lengths)
    matched = [tokens[pick] for tokens, pick in zip(lengths, picks, strict=True)]
    summary.tokens = {
        "base": [targets[i] for i in left],
        "before": [tokens[0] for tokens in lengths],
        "after": matched,
    }
    texts = [options[i][pick] for i, pick in zip(left, picks, strict=True)]
    verdicts = labels([drafts[i][0].prompt for i in left], [text.text for text in texts])
    corpus = []
    for i, text, tokens, verdict in zip(left, texts, matched, verdicts, strict=True):
        row, author, _ = drafts[i]
        provenance = {"branch": "safety", "author": author, "rewritten": config.rewrite, "route": row.route}
        maker = base.name if config.rewrite or author == BASE else author
        if maker != FILE:
            provenance |= origin(maker, config.rewrite_sampling if config.rewrite else config.sampling)
        provenance |= {"verdict": verdict, "options": len(options[i]), "tokens": tokens, "base_tokens": targets[i]}
        corpus.append(sft_row(row, text, provenance, with_context=True))
    return corpus


def _candidates(
    config: CrossSftConfig, name: str, author: Answerer | None, rows: Sequence[PromptRow]
) -> Sequence[Answer | None]:
    """One author's answers to the safety prompts, given under each prompt's constitution; without one, the file's."""
    if author is None:
        return [Answer(row.reference, True) if row.reference is not None else None for row in rows]
    questions = [
        Question(
            row.prompt,
            load_constitution(constitution_of(row)).context(),
            stream(config.seed, "candidate", name, row.id),
            image=row.image,
        )
        for row in rows
    ]
    return author.answer(questions, config.sampling, f"Candidates of {name}")


def _rewrites(
    config: CrossSftConfig,
    base: Answerer,
    drafts: Sequence[tuple[PromptRow, Answer]],
    targets: Sequence[int],
    summary: Summary,
) -> list[list[Answer]]:
    """The acceptable rewrites of each draft, asked for at about the length (tokens) of the base's own answer."""
    asked = [
        (i, row, draft, REWRITE.format(prompt=row.prompt, draft=draft.text, words=_round_words(targets[i])), k)
        for i, (row, draft) in enumerate(drafts)
        for k in range(config.rewrites)
    ]
    answers = base.answer(
        [
            Question(text, None, stream(config.seed, "rewrite", row.id, k), image=row.image)
            for _, row, _, text, k in asked
        ],
        config.rewrite_sampling,
        "Rewriting in the base model's style",
    )
    summary.asked["rewrites"] = len(answers)
    kept: list[list[Answer]] = [[] for _ in drafts]
    drafted = [(row, draft) for _, row, draft, _, _ in asked]
    reasons = rewrite_faults([row for row, _ in drafted], [draft for _, draft in drafted], answers, REWRITE)
    for (i, *_), answer, reason in zip(asked, answers, reasons, strict=True):
        if reason is None:
            kept[i].append(answer)
        else:
            summary.rejected["rewrites"][reason] += 1
    return kept


def _round_words(tokens: int) -> int:
    """Words of a text of that many tokens, in tens: English has about three words in four tokens."""
    return max(10, round(0.075 * tokens) * 10)
