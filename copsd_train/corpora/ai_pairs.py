"""Pairs for preference training: two answers of the student to each prompt, compared by AI feedback.

Constitutional AI, arXiv 2212.08073, section 4.1: the label stays soft, the probability that feedback gives.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from copsd_bench.cachedir import write_atomic
from copsd_bench.engine.protocol import Sampling
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.corpora.answers import Answer, EngineAnswerer, Question, stream
from copsd_train.corpora.own_answers import origin
from copsd_train.corpora.prompts import require_text
from copsd_train.corpora.sample_sheet import sheet_beside, write_sheet
from copsd_train.corpora.schema import PairRow, PromptRow, write_rows
from copsd_train.feedback import Comparer, Comparison


def build_ai_pairs(
    rows: Sequence[PromptRow],
    student: EngineAnswerer,
    comparer: Comparer,
    sampling: Sampling,
    min_margin: float,
    seed: int,
    out: Path,
) -> Path:
    """Build the pairs; the same call continues a build that was interrupted at any moment.

    Args:
        rows: prompts.
        student: who answers them, twice each.
        comparer: who compares.
        sampling: how the student answers.
        min_margin: pairs whose label is closer to one half are left out.
        seed: of the answers.
        out: the pairs (`PairRow`); beside them come `samples.md` and `<out>.summary.json`.

    Returns:
        `out`.

    Raises:
        CopsdError: no pair is left.
    """
    require_text(rows, "Preference training")
    questions = [Question(row.prompt, None, stream(seed, "pair", row.id, i)) for row in rows for i in (0, 1)]
    answers = student.answer(questions, sampling, "Two answers to each prompt")
    rejected: Counter[str] = Counter()
    pairs = []
    for row, first, second in zip(rows, answers[::2], answers[1::2], strict=True):
        if not first.text or not second.text:
            rejected["have an empty answer"] += 1
        elif first.text == second.text:
            rejected["have the same answer twice"] += 1
        else:
            pairs.append((row, first, second))
    compared = comparer.compare(
        [row.kind for row, _, _ in pairs],
        [row.prompt for row, _, _ in pairs],
        [first.text for _, first, _ in pairs],
        [second.text for _, _, second in pairs],
    )
    judged = []
    for pair, comparison in zip(pairs, compared, strict=True):
        if comparison is None:
            rejected["got no choice from feedback"] += 1
        elif abs(comparison.label - 0.5) < min_margin:
            rejected["are too close to a tie"] += 1
        else:
            judged.append((*pair, comparison))
    made_by = {**origin(student.name, sampling), "feedback": comparer.name, **_asked(comparer)}
    written = [_pair(*each, made_by) for each in judged]
    write_atomic(out.with_name(out.name + ".summary.json"), _summary(len(rows), rejected, [c for *_, c in judged]))
    if not written:
        reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.most_common())
        raise CopsdError(
            f"Of {len(rows)} pairs none is left ({reasons}); lower preference.min_margin, or choose another "
            "feedback.model.",
            ExitCode.DATA,
        )
    write_sheet(sheet_beside(out), written)
    write_rows(out, written)
    return out


def _asked(comparer: Comparer) -> dict[str, object]:
    config = comparer.config
    return {"chain_of_thought": config.chain_of_thought, "clamp": config.clamp, "few_shot": config.few_shot}


def _pair(row: PromptRow, first: Answer, second: Answer, comparison: Comparison, made_by: dict[str, object]) -> PairRow:
    """The likelier answer as `chosen`; which of the two it was stays in the provenance."""
    swapped = comparison.label < 0.5
    chosen, rejected = (second, first) if swapped else (first, second)
    return PairRow(
        id=row.id,
        prompt=row.prompt,
        chosen=chosen.text,
        rejected=rejected.text,
        label=1 - comparison.label if swapped else comparison.label,
        chosen_complete=chosen.complete,
        rejected_complete=rejected.complete,
        kind=row.kind,
        category=row.category,
        provenance={
            "source": row.source,
            **made_by,
            "principles": [comparison.principle],
            "verdict": {"forward": comparison.forward, "backward": comparison.backward, "chosen": int(swapped)},
        },
    )


def _summary(asked: int, rejected: Counter[str], comparisons: Sequence[Comparison]) -> bytes:
    """Counts, and how far feedback depends on the order: a judge that always says A agrees with itself never."""
    count = max(len(comparisons), 1)
    agree = sum((c.forward - 0.5) * (c.backward - 0.5) > 0 for c in comparisons)
    return json.dumps(
        {
            "asked": asked,
            "pairs": len(comparisons),
            "rejected": rejected,
            "both_orders_agree": round(agree / count, 4),
            "mean_margin": round(sum(abs(c.label - 0.5) for c in comparisons) / count, 4),
            "mean_order_effect": round(sum(c.forward - c.backward for c in comparisons) / count, 4),
            "principles": Counter(c.principle for c in comparisons),
        },
        indent=2,
    ).encode()
