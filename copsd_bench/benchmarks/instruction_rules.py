"""Instruction rules: what an answer's form must satisfy, each decided by a short pure function.

A rule takes the stripped, non-empty answer and its parameters. Words are whitespace-separated tokens that hold a letter
or a digit (`well-known` is one word). Comparisons of words and of openings and endings ignore case.
"""

import inspect
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from copsd_bench.errors import first_problem, unknown_name

Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]

RULES: dict[str, Callable[..., bool]] = {}
"""Every rule by its name."""

_PARAMETERS: dict[str, type[BaseModel]] = {}
_BULLET = re.compile(r"[-*•–]\s+\S")
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
# A full stop after one of these does not end a sentence.
_ABBREVIATION = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|vs|e\.g|i\.e)\.", re.IGNORECASE)


def rule(function: Callable[..., bool]) -> Callable[..., bool]:
    """Register a rule under its function's name; its signature is the schema of its parameters."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is inspect.Parameter.empty else p.default) for p in parameters
    }
    config = ConfigDict(extra="forbid", strict=True)
    _PARAMETERS[function.__name__] = create_model(function.__name__, __config__=config, **fields)
    RULES[function.__name__] = function
    return function


def validate_rule(name: str, parameters: dict[str, Any]) -> None:
    """Refuse a rule that could not be applied.

    Raises:
        ValueError: no such rule (the nearest name is given), or a parameter is missing, unknown or out of range.
    """
    if name not in RULES:
        raise ValueError(str(unknown_name("instruction rule", name, RULES)))
    try:
        _PARAMETERS[name].model_validate(parameters)
    except ValidationError as error:
        where, what = first_problem(error, whole="its parameters")
        raise ValueError(f"instruction rule {name!r} is wrong at {where}: {what}") from error


def split_words(answer: str) -> list[str]:
    """Whitespace-separated tokens (a dash between spaces or an em dash separates too) with a letter or a digit."""
    return [token for token in answer.replace("—", " ").split() if any(char.isalnum() for char in token)]


def split_lines(answer: str) -> list[str]:
    """Lines that are not blank, stripped."""
    return [line.strip() for line in answer.splitlines() if line.strip()]


def split_sentences(answer: str) -> list[str]:
    """Sentences: each ends at `.`, `!`, `?` or `…` (and closing quotes or brackets) before a space, or at the end."""
    masked = _ABBREVIATION.sub(lambda match: match.group().replace(".", "·"), answer)
    return [part for part in re.split(r"(?<=[.!?…])[\"'”’)\]*_]*(?:\s+|$)", masked) if any(map(str.isalnum, part))]


def count_word(answer: str, word: str) -> int:
    """How often a word or phrase stands in the answer on its own, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE))


@rule
def max_words(answer: str, n: Count) -> bool:
    """At most `n` words."""
    return len(split_words(answer)) <= n


@rule
def min_words(answer: str, n: Count) -> bool:
    """At least `n` words."""
    return len(split_words(answer)) >= n


@rule
def words(answer: str, n: Count) -> bool:
    """Exactly `n` words."""
    return len(split_words(answer)) == n


@rule
def lines(answer: str, n: Count) -> bool:
    """Exactly `n` lines that are not blank."""
    return len(split_lines(answer)) == n


@rule
def bullets(answer: str, n: Count) -> bool:
    """Exactly `n` lines that are bullet points (`-`, `*`, `•` or `–`, then a space)."""
    return sum(bool(_BULLET.match(line)) for line in split_lines(answer)) == n


@rule
def numbered(answer: str, n: Count) -> bool:
    """The numbered lines (`1.` or `1)`) are exactly 1 to `n`, in order."""
    found = [re.match(r"\W*(\d+)[.)]\**\s+\S", line) for line in split_lines(answer)]
    return [int(match.group(1)) for match in found if match] == list(range(1, n + 1))


@rule
def sentences(answer: str, n: Count) -> bool:
    """Exactly `n` sentences."""
    return len(split_sentences(answer)) == n


@rule
def paragraphs(answer: str, n: Count) -> bool:
    """Exactly `n` paragraphs, separated by blank lines."""
    return len(re.split(r"\n\s*\n", answer)) == n


@rule
def contains(answer: str, words: Texts) -> bool:
    """Every one of the words or phrases occurs, on its own."""
    return all(count_word(answer, word) for word in words)


@rule
def not_contains(answer: str, words: Texts) -> bool:
    """None of the words or phrases occurs on its own (an inflected form is another word: list it too)."""
    return not any(count_word(answer, word) for word in words)


@rule
def repeats(answer: str, word: Text, n: Count) -> bool:
    """The word occurs at least `n` times."""
    return count_word(answer, word) >= n


@rule
def lowercase_only(answer: str) -> bool:
    """Some letter, and no capital letter."""
    return answer.islower()


@rule
def uppercase_only(answer: str) -> bool:
    """Some letter, and no small letter."""
    return answer.isupper()


@rule
def no_commas(answer: str) -> bool:
    """No comma of any script."""
    return not re.search("[,，،、]", answer)


@rule
def no_digits(answer: str) -> bool:
    """No decimal digit."""
    return not any(char.isdigit() for char in answer)


@rule
def starts_with(answer: str, text: Text) -> bool:
    """The answer opens with the text (Markdown emphasis around the answer is ignored)."""
    return answer.lstrip("*_# ").casefold().startswith(text.casefold())


@rule
def ends_with(answer: str, text: Text) -> bool:
    """The answer closes with the text (Markdown emphasis around the answer is ignored)."""
    return answer.rstrip("*_ ").casefold().endswith(text.casefold())


@rule
def each_line_starts_with(answer: str, text: Text) -> bool:
    """Every line that is not blank opens with the text."""
    return all(line.startswith(text) for line in split_lines(answer))


@rule
def quoted(answer: str) -> bool:
    """The whole answer stands in one pair of double quotation marks (straight or curly)."""
    inner = answer[1:-1].strip()
    return len(answer) > 2 and answer[0] in '"“' and answer[-1] in '"”' and inner != "" and not set(inner) & set('"“”')


@rule
def valid_json(answer: str, keys: Texts | None = None, length: Count | None = None) -> bool:
    """The whole answer is JSON, bare or in one code fence.

    With `keys`: an object with exactly these keys. With `length`: an array of this many strings.
    """
    fenced = _FENCE.match(answer)
    try:
        value = json.loads(fenced.group(1) if fenced else answer)
    except ValueError:
        return False
    if keys is not None and not (isinstance(value, dict) and set(value) == set(keys)):
        return False
    return length is None or (
        isinstance(value, list) and len(value) == length and all(isinstance(item, str) for item in value)
    )
