"""Sample ids that follow the content, so that order, shuffling and source do not matter."""

from collections import Counter
from collections.abc import Sequence


def stable_id(text: str, prefix: str) -> str:
    """The id inspect-evals gives a sample: `prefix_` and the first 8 hex digits of the text's sha256."""
    from inspect_evals.utils import create_stable_id

    return str(create_stable_id(text, prefix=prefix))


def stable_ids(texts: Sequence[str], prefix: str) -> list[str]:
    """One unique id a text: a repeated text (or a collision of the short hash) gets `-2`, `-3` ... in order."""
    seen: Counter[str] = Counter()
    ids = []
    for text in texts:
        identifier = stable_id(text, prefix)
        seen[identifier] += 1
        ids.append(identifier if seen[identifier] == 1 else f"{identifier}-{seen[identifier]}")
    return ids
