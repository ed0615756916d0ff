"""SHARD's corpus (self-reframing distillation, arXiv 2606.15517, section 2): original prompt -> refined answer.

A sensitive prompt is rewritten as an honest person would have put it, and an answer is refined with the rewritten
prompt as a guide, but for the original one. Kept is what a judge finds more helpful than the first answer and, other
than in the original, not less safe. The rewritten prompt is in no row. General and over-refusal prompts keep the base
model's own answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from copsd_bench.cachedir import write_atomic
from copsd_bench.engine.protocol import Engine, Sampling, View
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.guidelines import Extent, load_guidelines
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import JUDGES
from copsd_bench.reframing import (
    ATTEMPTS,
    REWRITE_TOKENS,
    TEMPERATURE,
    Rewrite,
    Turns,
    parse_rewrite,
    refiner_turns,
    rewriter_turns,
    texts_digest,
)
from copsd_train.corpora.answers import (
    SELF,
    Answer,
    Answerer,
    EngineAnswerer,
    InspectAnswerer,
    Ledger,
    Question,
    named_answerer,
    stream,
)
from copsd_train.corpora.own_answers import origin, preserving_rows, sft_row
from copsd_train.corpora.prompts import CorpusConfig, load_rows
from copsd_train.corpora.refinement import Judgement, Refinement, judge_refinements
from copsd_train.corpora.sample_sheet import Step, sheet_beside, write_sheet
from copsd_train.corpora.schema import PairRow, PromptRow, SftRow, pairs_beside, require_both_sides, write_rows
from copsd_train.corpora.split import stratified_split, validation_beside
from copsd_train.corpora.summary import Summary


class ReframingConfig(CorpusConfig):
    """Settings of the builder.

    Attributes:
        guidelines: what the rewriter goes by: general rules and those of the prompt's category (`all`; a prompt
            without a category has the general ones), `general` ones only, or `none`.
        guidelines_file: others than the packaged ones.
        rewriter: who rewrites prompts: `self`, or a model, local or Inspect's (`openai/...`).
        attempts: replies of the rewriter to a prompt until one can be read; then the prompt is dropped.
        refine_attempts: refined answers to a prompt until one is kept; then the prompt is dropped. Each is judged by
            itself, never against another.
        author: who answers and refines: `self`, or a larger teacher.
        draft: what is refined: the answer to the `original` prompt (released code), or to the `rewritten` one.
        judge: `refusal` (offline: rules alone), or a model that compares pairwise; see `judge_refinements`.
        safety_filter: reject refined answers that are less safe than the first ones (false: released code).
        validation: share of the rows held out, in every kind and category.
        rewrite_temperature, rewrite_tokens: of rewriting.
        temperature, max_tokens: of first answers, drafts and refined answers.
        preserving_temperature: of the base model's own answers to general and over-refusal prompts.
    """

    writes_pairs: ClassVar[bool] = True
    sees_images: ClassVar[bool] = False
    kind: Literal["reframing"] = "reframing"
    guidelines: Extent = "all"
    guidelines_file: Path | None = None
    rewriter: str = SELF
    attempts: int = Field(default=ATTEMPTS, ge=1)
    refine_attempts: int = Field(default=1, ge=1)
    author: str = SELF
    draft: Literal["original", "rewritten"] = "original"
    judge: str = "refusal"
    safety_filter: bool = True
    validation: float = Field(default=0.1, ge=0, lt=1)
    rewrite_temperature: float = Field(default=TEMPERATURE, ge=0)
    rewrite_tokens: int = Field(default=REWRITE_TOKENS, ge=1)
    temperature: float = Field(default=0.3, ge=0)
    max_tokens: int = Field(default=2000, ge=1)
    preserving_temperature: float = Field(default=1.0, ge=0)

    @property
    def sampling(self) -> Sampling:
        """How answers to sensitive prompts are drawn."""
        return Sampling(self.max_tokens, self.temperature)

    @property
    def rewriting(self) -> Sampling:
        """How rewrites are drawn."""
        return Sampling(self.rewrite_tokens, self.rewrite_temperature)


@dataclass(frozen=True)
class Authors:
    """The model that is trained, who rewrites prompts, and who answers."""

    base: EngineAnswerer
    rewriter: Answerer
    author: Answerer


def build_reframing(
    config: ReframingConfig, engine: Engine, out: Path, view: View = View(), identity: str = "base"
) -> Path:
    """Build the corpus; the same call continues a build that was interrupted at any moment.

    Args:
        config: settings.
        engine: the base model.
        out: the training rows, `.jsonl` or `.parquet` (`SftRow`). Beside it come `validation` rows, `pairs.jsonl`
            (refined over first answer, of the training rows), `<out>.work`, the answers had so far,
            `<out>.summary.json` (`Summary`) and `samples.md`, examples for people.
        view: how to look at the engine's weights.
        identity: digest of weights and view: another model's answers are never taken from an old `<out>.work`.

    Returns:
        `out`.

    Raises:
        CopsdError: unusable prompts or guidelines, an overlap with a benchmark, an unknown model; no prompt could be
            rewritten, or no refined answer was kept.
    """
    rows = load_rows(config)
    load_guidelines(config.guidelines_file)  # what is wrong with them is said before the work
    ledger = Ledger(out.with_name(out.name + ".work"))
    base = EngineAnswerer(engine, view, ledger, identity)
    authors = Authors(base, named_answerer(config.rewriter, base), named_answerer(config.author, base))
    judge = None if config.judge in JUDGES else InspectAnswerer(config.judge, ledger)
    summary = Summary()
    preserving = Sampling(config.max_tokens, config.preserving_temperature)
    preserved = preserving_rows(base, [row for row in rows if row.kind != "safety"], preserving, config.seed, summary)
    judged = _refinements(config, authors, judge, [row for row in rows if row.kind == "safety"], summary)
    refined = [(_row(config, authors, each, said), each) for each, said in judged if said.fault is None]
    summary.asked["refined answers"] = len(judged)
    summary.rejected["refined answers"].update(said.fault for _, said in judged if said.fault is not None)
    summary.tokens = {
        "base": [base.tokens(each.first.text) for _, each in refined],
        "refined": [base.tokens(each.refined.text) for _, each in refined],
    }
    corpus = preserved + [row for row, _ in refined]
    write_atomic(out.with_name(out.name + ".summary.json"), summary.json(corpus))
    shown = corpus if refined else [_row(config, authors, *both) for both in judged if both[0].refined.text]
    write_sheet(sheet_beside(out), shown, {each.row.id: _steps(each) for each, _ in judged})
    if not refined:
        raise CopsdError(_nothing_left(config, len(judged), summary, sheet_beside(out)), ExitCode.RUN)
    require_both_sides(corpus, f"The corpus {out}, after {summary.rejections()},")
    training, validation = stratified_split(corpus, config.validation, config.seed)
    require_both_sides(training, f"The corpus {out}, without its {len(validation)} validation rows,")
    trained = {row.id for row in training}
    pairs = [_pair(row, each) for row, each in refined if row.id in trained and each.first.text]
    write_rows(pairs_beside(out), pairs)
    write_rows(validation_beside(out), validation)
    write_rows(out, training)  # last: a corpus that is there is whole
    return out


def _refinements(
    config: ReframingConfig, authors: Authors, judge: Answerer | None, rows: Sequence[PromptRow], summary: Summary
) -> list[tuple[Refinement, Judgement]]:
    """Rewrite, answer, refine, judge; prompts whose rewrites cannot be read are dropped and counted."""
    author = authors.author
    rewrites = _rewrites(config, authors.rewriter, rows, summary)
    rows = [row for row in rows if row.id in rewrites]
    found = [rewrites[row.id] for row in rows]
    first = _answers(config, author, [(row.id, ((), row.prompt)) for row in rows], "first", "First answers")
    drafts = first
    if config.draft == "rewritten":
        asked = [(row.id, ((), rewrite.rewritten_prompt)) for row, (rewrite, _) in zip(rows, found, strict=True)]
        drafts = _answers(config, author, asked, "draft", "Answers to the rewritten prompts")
    unrefined = [
        Refinement(row, rewrite, attempts, before, draft)
        for row, (rewrite, attempts), before, draft in zip(rows, found, first, drafts, strict=True)
    ]
    return _refined(config, author, judge, unrefined, summary)


def _refined(
    config: ReframingConfig, author: Answerer, judge: Answerer | None, drafts: Sequence[Refinement], summary: Summary
) -> list[tuple[Refinement, Judgement]]:
    """Refine each draft until an answer is kept; of one that never is, the last answer with its fault."""
    judged: dict[str, tuple[Refinement, Judgement]] = {}
    for attempt in range(config.refine_attempts):
        left = [each for each in drafts if each.row.id not in judged or judged[each.row.id][1].fault is not None]
        if not left:
            break
        asked = [(each.row.id, refiner_turns(each.row.prompt, each.rewrite, each.draft.text)) for each in left]
        what = f"Refining answers, attempt {attempt + 1}" if attempt else "Refining answers"
        answers = _answers(config, author, asked, f"refine {attempt}", what)
        tried = [replace(each, refined=answer, drawn=attempt + 1) for each, answer in zip(left, answers, strict=True)]
        summary.asked["replies of the refiner"] += len(tried)
        said = judge_refinements(tried, judge, config.safety_filter, config.seed)
        judged.update((each.row.id, (each, verdict)) for each, verdict in zip(tried, said, strict=True))
    return [judged[each.row.id] for each in drafts]


def _rewrites(
    config: ReframingConfig, rewriter: Answerer, rows: Sequence[PromptRow], summary: Summary
) -> dict[str, tuple[Rewrite, int]]:
    """By row id, the first rewrite that can be read, and at which attempt; the rest is counted by its last fault."""
    guidelines = load_guidelines(config.guidelines_file)
    found: dict[str, tuple[Rewrite, int]] = {}
    faults: dict[str, str] = {}
    for attempt in range(config.attempts):
        missing = [row for row in rows if row.id not in found]
        if not missing:
            break
        questions = []
        for row in missing:
            before, last = rewriter_turns(row.prompt, guidelines.rules(row.category, config.guidelines))
            questions.append(Question(last, None, stream(config.seed, "reframe", row.id, attempt), before))
        what = f"Rewriting prompts, attempt {attempt + 1}" if attempt else "Rewriting prompts"
        summary.asked["replies of the rewriter"] += len(missing)
        for row, reply in zip(missing, rewriter.answer(questions, config.rewriting, what), strict=True):
            rewrite = parse_rewrite(reply.text)
            if isinstance(rewrite, Unscored):
                faults[row.id] = rewrite.reason
            else:
                found[row.id] = rewrite, attempt + 1
    summary.asked["rewrites"] = len(rows)
    summary.rejected["rewrites"].update(fault for name, fault in faults.items() if name not in found)
    return found


def _answers(
    config: ReframingConfig, author: Answerer, asked: Sequence[tuple[str, Turns]], name: str, what: str
) -> list[Answer]:
    """Answers to conversations, each with the id of its row."""
    questions = [Question(last, None, stream(config.seed, name, row_id), before) for row_id, (before, last) in asked]
    return author.answer(questions, config.sampling, f"{what} ({config.author})")


def _row(config: ReframingConfig, authors: Authors, each: Refinement, judgement: Judgement) -> SftRow:
    rules = load_guidelines(config.guidelines_file).rules(each.row.category, config.guidelines)
    provenance: dict[str, Any] = {
        "branch": "reframed",
        "author": config.author,
        **origin(authors.author.name, config.sampling),
        "rewriter": {**origin(authors.rewriter.name, config.rewriting), "attempts": each.attempts},
        "refine_attempts": each.drawn,
        "texts": texts_digest(rules),
        "mode": each.rewrite.response_mode,
        "route": each.row.route,
        "draft": config.draft,
        "judge": config.judge,
        "verdict": {**judgement.said, "fault": judgement.fault},
        "tokens": authors.base.tokens(each.refined.text),
        "first_tokens": authors.base.tokens(each.first.text),
    }
    return sft_row(each.row, each.refined, provenance, with_context=False)


def _pair(row: SftRow, each: Refinement) -> PairRow:
    return PairRow(
        id=row.id,
        prompt=row.prompt,
        chosen=row.response,
        rejected=each.first.text,
        chosen_complete=row.complete,
        rejected_complete=each.first.complete,
        kind=row.kind,
        category=row.category,
        provenance=row.provenance,
    )


def _steps(each: Refinement) -> list[Step]:
    draft = [] if each.draft is each.first else [Step("Answer to the rewritten prompt", each.draft.text)]
    mode = each.rewrite.response_mode
    return [
        Step(f"Rewritten prompt ({mode})", each.rewrite.rewritten_prompt),
        Step("First answer", each.first.text),
        *draft,
    ]


def _nothing_left(config: ReframingConfig, count: int, summary: Summary, sheet: Path) -> str:
    """Why there is nothing to train on, and what to do."""
    if not count:
        return (
            f"The rewriter {config.rewriter} rewrote none of {summary.asked['rewrites']} prompts in {config.attempts} "
            f"attempts each ({summary.rejections()}); name another model as corpus.rewriter."
        )
    return (
        f"The judge {config.judge} preferred none of {count} refined answers to the first ones "
        f"({summary.rejections()}); read {sheet}, then name another corpus.author or corpus.judge."
    )
