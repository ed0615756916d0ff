"""How alike two prompts written for this project are."""

import re


def words(text: str) -> list[str]:
    """Case-folded words."""
    return re.findall(r"\w+", text.casefold())


def jaccard(a: str, b: str) -> float:
    """Distinct words in both texts over distinct words in either."""
    return len(set(words(a)) & set(words(b))) / len(set(words(a)) | set(words(b)))
