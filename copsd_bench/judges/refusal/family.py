"""A phrase family: a name, literals of which one must occur, and a regular expression.

Expressions are read against text normalised by `features.normalise`: lower case, straight quotes, contractions written
out ("can't" is "cannot", "i'm" is "i am"). Stems and literals are looked for first, which is many times faster.
"""

import re
from dataclasses import dataclass, field

STEM = 4
_LETTERS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Family:
    """One phrase family.

    Attributes:
        name: also the reason a verdict gives.
        literals: (stem, literal); the expression is tried only where a literal occurs, and the literal is looked for
            only where its stem, the first letters of one of its words, starts a word.
        stems: all stems.
        pattern: the expression.
    """

    name: str
    literals: tuple[tuple[str, str], ...]
    stems: frozenset[str]
    pattern: re.Pattern[str] = field(repr=False)


def stems_of(text: str) -> set[str]:
    """The first `STEM` letters of every word."""
    return {word[:STEM] for word in _LETTERS.findall(text)}


def family(name: str, literals: str, pattern: str) -> Family:
    """A family from its parts.

    Args:
        name: the family's name.
        literals: alternatives between `|`.
        pattern: a regular expression; `{ADVERB}` stands for up to two adverbs, `{SERVE}` for verbs of serving.
            Line breaks and indentation of both texts do not count.
    """
    alternatives = tuple((_longest_stem(literal), literal) for literal in _joined(literals).split("|"))
    stems = frozenset(stem for stem, _ in alternatives)
    expression = _joined(pattern).replace("{ADVERB}", _ADVERB).replace("{SERVE}", _SERVE)
    return Family(name, alternatives, stems, re.compile(expression))


def _longest_stem(literal: str) -> str:
    return max(_LETTERS.findall(literal), key=len)[:STEM]


def _joined(text: str) -> str:
    return "".join(line.lstrip(" ") for line in text.splitlines())


_ADVERB = _joined(
    r"""
    (?:(?:\w+ly|just|also|still|therefore|even|in good conscience|as an? [\w ,-]{2,40})[ ,]+){0,2}
    """
)
_SERVE = _joined(
    r"""
    (?:provid|giv|help|assist|answer|fulfil|comply|complies|offer|support|discuss|suggest|tell|shar|generat|creat|
    writ|advis|engag|respond|satisf|complet|disclos|participat|promot|encourag|condon|endors|produc|do (?:that|
    this|so|it)\b|continu|recommend(?! \w+ enough)|explain|describ|guid|instruct|teach|speculat|address|facilitat|
    accommodat|reveal|go (?:into|along)|make (?:jokes|fun|any|such|statements|assumptions)|access|look up|process|
    be (?:of|able|part|involved)|contribut|entertain|indulg|role ?play|list|translate|justif|argue|agree|draft|
    compose|script|plan\b|phrase|word\b|name\b|design|alter|invent|make (?:one|it|that|this|them) up|spell out|
    hand (?:you|over)|put (?:that|it|this)|coach|walk you)
    """
)
