"""Which answers may be learned from: rules that reject, and a choice among what is left."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from copsd_bench.collapse.text import words
from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Sampling
from copsd_bench.judges.pairwise import MAX_TOKENS, Outcome, both_orders, parse_preference
from copsd_bench.judges.pairwise_prompts import RUBRICS, TEMPLATE, Aspect
from copsd_bench.judges.protocol import Verdict
from copsd_bench.judges.refusal import RefusalJudge
from copsd_bench.judges.refusal.declining import FOR_A_REASON, WILL_NOT
from copsd_bench.judges.refusal.features import own_voice
from copsd_bench.judges.refusal.phrases import FAMILIES
from copsd_train.corpora.answers import Answer, Answerer, Question, stream
from copsd_train.corpora.schema import PromptRow, Route, constitution_of

FILE = "file"
"""The author of the reference answers that come with the prompts."""
UNSAFE = "help where they must refuse"
"""The fault of an answer that takes another route than `refuse`."""
COPIED_WORDS = 10
"""A run of this many words in common is copied, not said alike."""
SUBJECT = 0.1
"""A rewrite that keeps less than this share of its draft's longer words is about something else."""
_LONG = 5  # letters of a word that carries a subject
_BARE = re.compile(r"^(?:i|we) (?:cannot|can not|will not|would not)\s*[.!]?\s*$")
_IN_PASSING = [_BARE, *(family.pattern for family in FAMILIES if family.name in (WILL_NOT, FOR_A_REASON))]
"""What declines by itself: an answer that is nothing else, and the judge's families for a few words among others."""


@cache
def refusal_judge() -> RefusalJudge:
    """The offline judge of the route an answer takes."""
    return RefusalJudge()


def labels(prompts: Sequence[str], answers: Sequence[str]) -> list[str]:
    """The refusal judge's label of each answer: full_refusal, partial_refusal, compliance, degenerate."""
    verdicts = refusal_judge().batch(prompts, answers)
    return [verdict.label for verdict in verdicts if isinstance(verdict, Verdict)]


def declines(prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    """Whether each answer declines something: to the refusal judge, or by one of the judge's phrases for it.

    The judge weighs an answer as a whole and calls some that decline in a few words before much help with something
    else compliance; a constitution's first route, refuse and redirect, reads like that.
    """
    found = labels(prompts, answers)
    return [
        label.endswith("refusal") or any(pattern.search(own_voice(answer)) for pattern in _IN_PASSING)
        for label, answer in zip(found, answers, strict=True)
    ]


def faults(rows: Sequence[PromptRow], answers: Sequence[Answer]) -> list[str | None]:
    """Why each answer must not be learned from, or None: it loops, was cut, or repeats its row's constitution."""
    found = labels([row.prompt for row in rows], [answer.text for answer in answers])
    return [_fault(*each) for each in zip(rows, answers, found, strict=True)]


def _fault(row: PromptRow, answer: Answer, label: str) -> str | None:
    if label == "degenerate":
        return "loop or are empty"
    if not answer.complete:
        return "were cut at the token limit"
    if copies(answer.text, load_constitution(constitution_of(row)).body()):
        return "copy the constitution"
    return None


def route_faults(rows: Sequence[PromptRow], answers: Sequence[Answer]) -> list[str | None]:
    """Why each answer takes another route than its row names, or None (also where a row names none)."""
    prompts, texts = [row.prompt for row in rows], [answer.text for answer in answers]
    found = zip(rows, labels(prompts, texts), declines(prompts, texts), strict=True)
    return [_route_fault(row.route, label, declined) for row, label, declined in found]


def _route_fault(route: Route | None, label: str, declined: bool) -> str | None:
    if route == "refuse" and not declined:
        return UNSAFE
    # A warning may decline a part of what was asked; plain help may not.
    if (route == "warn" and label == "full_refusal") or (route == "help" and label.endswith("refusal")):
        return "refuse where they must help"
    return None


def rewrite_faults(
    rows: Sequence[PromptRow], drafts: Sequence[Answer], rewrites: Sequence[Answer], instruction: str
) -> list[str | None]:
    """Why each rewrite must not stand for its draft, or None.

    Beyond `faults`: it takes another route than the row names or, where none is named, than the draft takes; it
    repeats its instruction; or it is about something else.
    """
    drafted = labels([row.prompt for row in rows], [draft.text for draft in drafts])
    routed = [
        row if row.route else row.model_copy(update={"route": "refuse" if label.endswith("refusal") else "help"})
        for row, label in zip(rows, drafted, strict=True)
    ]
    return [
        fault or route or _drift(draft.text, rewrite.text, instruction)
        for fault, route, draft, rewrite in zip(
            faults(rows, rewrites), route_faults(routed, rewrites), drafts, rewrites, strict=True
        )
    ]


def _drift(draft: str, rewrite: str, instruction: str) -> str | None:
    if copies(rewrite, instruction):
        return "repeat their instruction"
    return "leave the subject" if leaves_subject(rewrite, draft) else None


def leaves_subject(text: str, source: str) -> bool:
    """Whether a text keeps less than `SUBJECT` of the longer words of a source."""
    subject = {word for word in words(source) if len(word) >= _LONG}
    return bool(subject) and len(subject & set(words(text))) < SUBJECT * len(subject)


def copies(text: str, source: str, n: int = COPIED_WORDS) -> bool:
    """Whether a text repeats `n` words of a source in a row."""
    a, b = words(text), words(source)
    runs = {tuple(b[i : i + n]) for i in range(len(b) - n + 1)}
    return any(tuple(a[i : i + n]) in runs for i in range(len(a) - n + 1))


def select(
    rows: Sequence[PromptRow],
    candidates: Mapping[str, Sequence[Answer | None]],
    judge: Answerer | None,
    seed: int,
    rejected: Counter[str],
) -> list[tuple[str, Answer] | None]:
    """One answer a row, with its author; None where no candidate is free of faults.

    Without a judge the first author whose answer has no fault is taken. With one, each further such answer replaces
    the one before if the judge, asked in both orders, finds it more helpful or safer, and neither less helpful nor
    less safe.

    Args:
        rows: the prompts.
        candidates: answers to each row (None: none given) by author, the most trusted author first.
        judge: a model that compares, or None.
        seed: of the judge's random streams.
        rejected: counts candidates by fault.
    """
    left: list[list[tuple[str, Answer]]] = [[] for _ in rows]
    for author, answers in candidates.items():
        given = [(i, answer) for i, answer in enumerate(answers) if answer is not None]
        asked, texts = [rows[i] for i, _ in given], [answer for _, answer in given]
        reasons = faults(asked, texts)
        if author != FILE:  # the route of a row is the route of its own reference
            reasons = [fault or route for fault, route in zip(reasons, route_faults(asked, texts), strict=True)]
        for (i, answer), reason in zip(given, reasons, strict=True):
            if reason is None:
                left[i].append((author, answer))
            else:
                rejected[reason] += 1
    best = [row[0] if row else None for row in left]
    if judge is None:
        return best
    for turn in range(1, len(candidates)):
        playing = [i for i, row in enumerate(left) if len(row) > turn]
        champions = [best[i][1].text for i in playing]  # type: ignore[index]
        challengers = [left[i][turn][1].text for i in playing]
        wins = _prefers([rows[i] for i in playing], champions, challengers, judge, seed)
        for i, won in zip(playing, wins, strict=True):
            best[i] = left[i][turn] if won else best[i]
    return best


def _prefers(
    rows: Sequence[PromptRow], champions: Sequence[str], challengers: Sequence[str], judge: Answerer, seed: int
) -> list[bool]:
    """Whether each challenger is better in one aspect, helpful or harmless, and worse in none; unscored is worse."""
    prompts, images = [row.prompt for row in rows], [row.image for row in rows]
    found = [compared(prompts, challengers, champions, judge, seed, aspect, images) for aspect in RUBRICS]
    return [
        "win" in outcomes and "lose" not in outcomes and None not in outcomes for outcomes in zip(*found, strict=True)
    ]


def compared(
    prompts: Sequence[str],
    answers: Sequence[str],
    others: Sequence[str],
    judge: Answerer,
    seed: int,
    aspect: Aspect,
    images: Sequence[str | None] | None = None,
) -> list[Outcome | None]:
    """What a judge, asked in both orders, says of each answer against the other to its prompt; None: no verdict."""
    images = images or [None] * len(prompts)
    verdicts = []
    for first, second in ((answers, others), (others, answers)):
        texts = [
            TEMPLATE.format(rubric=RUBRICS[aspect], prompt=prompt, first=a, second=b)
            for prompt, a, b in zip(prompts, first, second, strict=True)
        ]
        questions = [
            Question(text, None, stream(seed, "judge", text), image=image)
            for text, image in zip(texts, images, strict=True)
        ]
        replies = judge.answer(questions, Sampling(MAX_TOKENS), f"Comparing answers: {aspect} ({judge.name})")
        verdicts.append([parse_preference(reply.text) for reply in replies])
    return [getattr(both_orders(*orders), "outcome", None) for orders in zip(*verdicts, strict=True)]
