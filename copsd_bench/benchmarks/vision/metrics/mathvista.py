"""MathVista: from an extracted answer to the gold answer's form, and equality (Lu et al. 2023, arXiv 2310.02255)."""

import re
from collections.abc import Sequence
from typing import Any

Problem = dict[str, Any]
"""A record: `question_type`, `answer_type`, `choices`, `precision`, `answer`."""


def bare_answer(response: str, problem: Problem) -> str | None:
    """What needs no extraction: a response that is a choice, a whole number or a number already; None otherwise."""
    if not response:
        return ""
    if problem["question_type"] == "multi_choice":
        return response if response in problem["choices"] else None
    kind = {"integer": int, "float": float}.get(problem["answer_type"])
    try:
        return None if kind is None else str(kind(response))
    except ValueError:
        return None


def normalise(extraction: str, problem: Problem) -> str | None:
    """An extraction in the gold answer's form; None for a number that is none.

    A choice's letter, bare or in brackets, stands for its text; anything else for the choice nearest in edit distance,
    so that even an empty extraction chooses one.
    """
    if problem["question_type"] == "multi_choice":
        return _choice(extraction.strip(), problem["choices"])
    try:
        match problem["answer_type"]:
            case "integer":
                return str(int(float(extraction)))
            case "float":
                return str(round(float(extraction), problem["precision"]))
            case _:
                return extraction
    except (ValueError, OverflowError):
        return None


def correct(extraction: str, problem: Problem) -> bool:
    """Whether the normalised extraction is the gold answer, as a string."""
    found = normalise(extraction, problem)
    return found is not None and found.strip() == str(problem["answer"]).strip()


def _choice(extraction: str, choices: Sequence[str]) -> str:
    bracketed = re.search(r"\(([a-zA-Z])\)", extraction)
    letter = bracketed[1].upper() if bracketed else extraction
    number = ord(letter) - ord("A") if len(letter) == 1 else -1
    if 0 <= number < len(choices):
        return choices[number]
    return min(choices, key=lambda choice: edit_distance(letter, choice))


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance: fewest insertions, deletions and substitutions of characters."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
