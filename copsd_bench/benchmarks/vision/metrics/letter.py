"""ScienceQA: which option does an answer choose?"""

import re

LETTERS = "ABCDE"
_NAMED = re.compile(r"The answer is ([A-E])")


def strict(answer: str, gold: str) -> bool:
    """The bare letter in any case, or an answer that begins with the capital letter and a period (lmms-eval)."""
    answer = answer.strip()
    return answer.lower() == gold.lower() or (answer[1:2] == "." and answer[0].isupper() and answer[0] == gold)


def lenient(answer: str, gold: str) -> bool:
    """A bare capital letter, one with a period and a space before anything else, or `The answer is X` (LLaVA's script).

    The script looks for the letter with a period first, and for one without it only where there is none.
    """
    text = answer.replace("\n", ". ")
    if text.strip() in LETTERS and len(text.strip()) == 1:
        return text.strip() == gold
    if text[:1] in LETTERS and text[1:3] == ". ":
        return text[:1] == gold
    named = re.search(_NAMED.pattern + r"\.", text) or _NAMED.search(text)
    return named is not None and named[1] == gold
