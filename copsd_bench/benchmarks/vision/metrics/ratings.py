"""Ratings in judges' replies: MM-Vet's correctness, LLaVA-Wilder's pair."""

import re


def correctness(reply: str) -> float | None:
    """The number in [0, 1] before the first space (MM-Vet, Yu et al. 2023, arXiv 2308.02490); None if there is none."""
    try:
        rating = float(reply.strip().partition(" ")[0])
    except ValueError:
        return None
    return rating if 0 <= rating <= 1 else None


def pair(reply: str) -> tuple[float, float] | None:
    """The two numbers of a reply's first line, of the reference and of the model; None unless it holds just these."""
    found = re.split(r"[,\s]+", reply.strip().split("\n", 1)[0].strip())
    if len(found) != 2:
        return None
    try:
        reference, model = float(found[0]), float(found[1])
    except ValueError:
        return None
    return (reference, model) if reference > 0 and model >= 0 else None
