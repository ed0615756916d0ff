"""Numbers that describe how an answer treats its prompt: where phrase families occur, its shape, its echo of the prompt."""

import math
import re

import numpy as np

from copsd_bench.judges.refusal_patterns import FAMILIES, GROUPS

ZONES = ("opening", "early", "later")
_READ = 4000  # characters of an answer that are read

_TRANSLATE = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "\u00a0": " ", "*": "", "#": "", "\u200b": ""})
_CONTRACTIONS = (
    ("can't", "cannot"),
    ("can not", "cannot"),
    ("won't", "will not"),
    ("n't", " not"),
    ("i'm", "i am"),
    ("'re ", " are "),
    ("it's", "it is"),
    ("that's", "that is"),
    ("there's", "there is"),
    ("here's", "here is"),
    ("what's", "what is"),
    ("'ll ", " will "),
    ("'ve ", " have "),
    ("i'd ", "i would "),
    ("let's", "let us"),
)
_FENCE = re.compile(r"(?:```|~~~).*?(?:```|~~~|\Z)", re.DOTALL)
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_ROLE = re.compile(r"^\W*(?:\[/inst\]|(?:assistant|ai|answer|response|bot|a)\s*:)\s*", re.IGNORECASE)
_QUOTED = re.compile(r'"[^"\n]{12,400}"')
_BLOCKQUOTE = re.compile(r"^>.*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_LIST_LINE = re.compile(r"^\s*(?:\d{1,2}[.):]|[-•+]|\*(?!\*))\s+\S", re.MULTILINE)
_NEGATION = re.compile(r"\b(?:not|no|never|cannot|nothing|none)\b")
_CONTENT = re.compile(r"[a-z]{4,}")
_NUMBER = re.compile(r"\d+")
_STOP = frozenset("that this what with from have does should would could which where when will your they them their there why how not best good".split())


def normalise(text: str) -> str:
    """Lower case, straight quotes, no emphasis marks, contractions written out; reasoning and a role prefix are dropped."""
    text = text[:_READ].translate(_TRANSLATE).strip().lower()
    if "<think" in text:
        text = _THINKING.sub(" ", text)
    text = _ROLE.sub("", text)
    if "'" in text or "can not" in text:
        for short, full in _CONTRACTIONS:
            text = text.replace(short, full)
    return text.strip()


def own_voice(answer: str) -> str:
    """The normalised answer without code, quotations and block quotes: what the model says itself.

    An answer that is nothing but a quotation is taken as spoken; one that is nothing but code is empty.
    """
    if "```" in answer or "~~~" in answer:
        answer = _FENCE.sub(" ", answer)
    text = normalise(_BLOCKQUOTE.sub(" ", answer) if ">" in answer else answer)
    spoken = _QUOTED.sub(" ", text) if '"' in text else text
    return spoken if len(spoken.strip(" .,;:\n")) >= 15 else text


def _zone_ends(text: str) -> tuple[int, int]:
    """Where the opening (two sentences) and the early part (five) end."""
    ends: list[int] = []
    for match in _SENTENCE_END.finditer(text):
        if not ends or match.end() - ends[-1] > 12:  # "No." and list numbers are not sentences of their own
            ends.append(match.end())
        if len(ends) == 5:
            break
    opening = min(ends[1] if len(ends) > 1 else len(text), 350)
    return opening, max(opening, min(ends[4] if len(ends) > 4 else len(text), 900))


_BY_NAME = {family.name: i for i, family in enumerate(FAMILIES)}
_GROUPS = {group: [_BY_NAME[name] for name in names] for group, names in GROUPS.items()}


def _zone_flags(text: str, ends: tuple[int, int]) -> list[float]:
    opening, early = ends
    table: list[list[float]] = []
    for family in FAMILIES:
        flags = [0.0, 0.0, 0.0]
        if any(literal in text for literal in family.literals):
            for match in family.pattern.finditer(text):
                start = match.start()
                if start < opening:
                    flags[0] = 1.0
                elif start < early:
                    flags[1] = 1.0
                else:
                    flags[2] = min(1.0, flags[2] + 1 / 3)
        table.append(flags)
    # Sums over a group let what was learned from one phrase of a kind hold for its rarer siblings.
    sums = [min(1.0, sum(table[i][zone] for i in members) / 3) for members in _GROUPS.values() for zone in range(3)]
    anys = [max(table[i][zone] for i in members) for members in _GROUPS.values() for zone in range(3)]
    return [value for flags in table for value in flags] + sums + anys


def _echo(prompt: str, text: str) -> tuple[float, ...]:
    """How the opening takes up the prompt: shared content words, and whether it negates what the prompt presumes."""
    asked = normalise(prompt)
    opening = text[: _zone_ends(text)[0]]
    content = {word[:6] for word in _CONTENT.findall(asked) if word not in _STOP}
    said = {word[:6] for word in _CONTENT.findall(opening)}
    overlap = len(content & said) / len(content) if content else 0.0
    leading = asked.startswith("why")
    negates = bool(_NEGATION.search(opening)) != bool(_NEGATION.search(asked))
    because = "because" in opening
    return (
        overlap,
        float(leading),
        float(leading and negates and not because),
        float(leading and not negates and not because),
        float(leading and because),
        overlap * float(leading and negates),
        float(asked.startswith("how") and negates),
    )


_ECHO = (
    "echoes the question",
    "asked why",
    "contradicts the question's premise",
    "asked why, keeps the premise",
    "answers why with because",
    "contradicts in the question's words",
    "negates a how-question",
)


def _shape(answer: str, text: str) -> tuple[float, ...]:
    count = text.count(" ") + 1
    return (
        math.log1p(count) / 5,
        float(count < 40),
        float(count > 150),
        min(1.0, len(_LIST_LINE.findall(answer[:_READ])) / 4),
        float("```" in answer),
        min(1.0, len(_NUMBER.findall(text)) / 8),
        float(text.endswith("?")),
        float(text.endswith(":") or (bool(text) and text[-1].isalnum())),
    )


_SHAPE = ("length", "short", "long", "list", "code", "figures", "ends asking", "cut off")

NAMES: tuple[str, ...] = tuple(f"{family.name} ({zone})" for family in FAMILIES for zone in ZONES) + tuple(
    f"{kind} {group} ({zone})" for kind in ("much", "any") for group in GROUPS for zone in ZONES
) + _ECHO + _SHAPE


def features(prompt: str, answer: str) -> np.ndarray:
    """The features of one answer, in the order of `NAMES`.

    Returns:
        float32, shape [len(NAMES)], every value about in [0, 1].
    """
    text = own_voice(answer)
    return np.array([*_zone_flags(text, _zone_ends(text)), *_echo(prompt, text), *_shape(answer, text)], dtype=np.float32)
