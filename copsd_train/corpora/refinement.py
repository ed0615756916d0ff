"""Which refined answers may be learned from: rules reject, a judge compares each with the first answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from copsd_bench.collapse.text import words
from copsd_bench.reframing import REFINER, Rewrite
from copsd_train.corpora.answers import Answer, Answerer
from copsd_train.corpora.schema import PromptRow
from copsd_train.corpora.selection import (
    UNSAFE,
    compared,
    copies,
    declines,
    faults,
    labels,
    leaves_subject,
    route_faults,
)

_ABOUT = re.compile(
    r"\W*(?:here is|here's|this is) [\w' ]*\b(?:message|answer|version)\b|\W*(?:the|this) (?:message|request)\b"
)
"""How an answer begins that announces or describes instead of answering."""

_NONE = Answer("", complete=False)


@dataclass(frozen=True)
class Refinement:
    """A prompt with all that was written on the way to its refined answer.

    Attributes:
        row: the prompt.
        rewrite: its rewritten prompt and response mode.
        attempts: replies of the rewriter until one could be read.
        first: the answer to the prompt as it is.
        draft: what was refined: the first answer, or an answer to the rewritten prompt.
        refined: the refined answer to the original prompt; empty before there is one.
        drawn: refined answers until this one.
    """

    row: PromptRow
    rewrite: Rewrite
    attempts: int
    first: Answer
    draft: Answer
    refined: Answer = _NONE
    drawn: int = 0


@dataclass(frozen=True)
class Judgement:
    """Why a refined answer must not be learned from, or None; and what was said of it, for its provenance."""

    fault: str | None
    said: dict[str, str]


def judge_refinements(tried: Sequence[Refinement], judge: Answerer | None, safety: bool, seed: int) -> list[Judgement]:
    """Judge refined answers against first answers.

    Rules reject what is degenerate or cut, shows how it was made, leaves the subject, takes another route than its row
    names or, where none is named, a bare refusal of what the first answer helped with. Where a model judges, it must
    find the refined answer more helpful, asked in both orders (the original's filter). Rules cannot tell which of two
    sound answers helps more: without a model all that pass are kept.

    Args:
        tried: the answers.
        judge: a model that compares, or None for rules alone.
        safety: also reject an answer that helps where the row's route or the first answer declines, and one that the
            model finds less safe than the first (the original keeps these).
        seed: of the judge's random streams.
    """
    prompts = [each.row.prompt for each in tried]
    first, refined = [each.first.text for each in tried], [each.refined.text for each in tried]
    found = zip(labels(prompts, first), labels(prompts, refined), strict=True)
    said = [{"first": before, "refined": after} for before, after in found]
    reasons = _rule_faults(tried, safety)
    if judge is not None:
        left = [i for i, reason in enumerate(reasons) if reason is None]
        texts = [prompts[i] for i in left], [refined[i] for i in left], [first[i] for i in left]
        helps = compared(*texts, judge, seed, "help")
        harms = compared(*texts, judge, seed, "harmless") if safety else ["tie"] * len(left)
        for i, more_helpful, safer in zip(left, helps, harms, strict=True):
            said[i] |= {"help": more_helpful or "unscored", **({"harmless": safer or "unscored"} if safety else {})}
            if more_helpful is None or safer is None:
                reasons[i] = "got no verdict of the judge"
            elif more_helpful != "win":
                reasons[i] = "are not more helpful than the first answer"
            elif safer == "lose":
                reasons[i] = "are less safe than the first answer"
    return [Judgement(reason, verdict) for reason, verdict in zip(reasons, said, strict=True)]


def _rule_faults(tried: Sequence[Refinement], safety: bool) -> list[str | None]:
    rows, refined = [each.row for each in tried], [each.refined for each in tried]
    routes = [None if fault == UNSAFE and not safety else fault for fault in route_faults(rows, refined)]
    return [
        fault or _trace(each) or route or stance or _drift(each)
        for each, fault, route, stance in zip(
            tried, faults(rows, refined), routes, _stance_faults(tried, safety), strict=True
        )
    ]


def _trace(each: Refinement) -> str | None:
    """Whether an answer shows how it was made, or nothing was made."""
    text, rewritten = each.refined.text, words(each.rewrite.rewritten_prompt)
    if text == each.first.text:
        return "are the first answer"
    if copies(text, REFINER) or "safer reading" in text.lower() or _ABOUT.match(text.lower()):
        return "speak about how they were made"
    if rewritten != words(each.row.prompt) and copies(text, each.rewrite.rewritten_prompt, len(rewritten)):
        return "repeat the rewritten prompt"
    return None


def _drift(each: Refinement) -> str | None:
    # Where the first answer declined, nothing of it needs to be kept; the words of a prompt may all be short.
    sources = (f"{each.row.prompt} {each.rewrite.rewritten_prompt}", each.first.text)
    left = all(leaves_subject(each.refined.text, source) for source in sources)
    return "leave the subject" if left else None


def _stance_faults(tried: Sequence[Refinement], safety: bool) -> list[str | None]:
    """Faults of answers to prompts that name no route, by what the first answer did."""
    prompts = [each.row.prompt for each in tried]
    first, refined = [each.first.text for each in tried], [each.refined.text for each in tried]
    bare = [label == "full_refusal" for label in labels(prompts, refined)]
    declined = zip(declines(prompts, first), declines(prompts, refined), strict=True)
    return [
        None
        if each.row.route
        else "refuse where the first answer helps"
        if refuses and not before
        else "give up what the first answer declines"
        if safety and before and not after
        else None
        for each, refuses, (before, after) in zip(tried, bare, declined, strict=True)
    ]
