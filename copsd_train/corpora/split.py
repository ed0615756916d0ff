"""Rows held out of training, in the same shares of every kind and category."""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from copsd_train.corpora.schema import SftRow


def validation_beside(corpus: Path) -> Path:
    """Where a builder puts the rows it holds out."""
    return corpus.with_name(f"validation{corpus.suffix}")


def stratified_split(rows: Sequence[SftRow], share: float, seed: int) -> tuple[list[SftRow], list[SftRow]]:
    """Training and validation rows, each in the given order.

    The rows are laid out stratum by stratum, shuffled within each, and every 1/share-th is held out: so each stratum
    gives its share to within one row, and the whole gives it to within one row too.

    Args:
        rows: the corpus; a stratum is a kind and a category.
        share: held out, in [0, 1).
        seed: of the shuffles.
    """
    strata: dict[tuple[str, str], list[SftRow]] = defaultdict(list)
    for row in rows:
        strata[row.kind, row.category].append(row)
    order: list[SftRow] = []
    for name, members in sorted(strata.items()):
        random.Random(f"{seed}:{name}").shuffle(members)
        order += members
    held = {row.id for i, row in enumerate(order) if int((i + 1) * share + 1e-9) > int(i * share + 1e-9)}
    return [row for row in rows if row.id not in held], [row for row in rows if row.id in held]
