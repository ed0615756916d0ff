"""GQA: is the answer the gold one?"""

import string

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def equal(answer: str, gold: str) -> bool:
    """String equality (GQA's evaluation code, https://cs.stanford.edu/people/dorarad/gqa/evaluate.html)."""
    return answer.strip() == gold


def equal_but_for_case(answer: str, gold: str) -> bool:
    """Equality without case and ASCII punctuation (lmms-eval)."""
    return _bare(answer) == _bare(gold)


def _bare(text: str) -> str:
    return text.strip().lower().translate(_NO_PUNCTUATION)
