"""The hub's data sets that lm-eval's tasks name, from pinned files."""

from collections.abc import Callable
from dataclasses import replace

from copsd_bench.sources.loader import Loaded, load_records

Splits = dict[str, Loaded]


def pinned_splits(path: str, name: str | None) -> Splits | None:
    """The splits of a hub data set of which verified files are pinned, or None.

    Args:
        path: repository on the hub.
        name: configuration of the data set, or None.

    Raises:
        CopsdError: a pinned file is missing or altered.
    """
    make = _PINNED.get((path, name)) or _PINNED_CONFIGURATIONS.get(path)
    return None if make is None else make(name or "")


def _split(split: str, pin: str, file: str = "test") -> Callable[[str], Splits]:
    return lambda name: {split: load_records(pin, file)}


def _mmlu(name: str) -> Splits:
    return {split: load_records("mmlu", f"{split}/{name}") for split in ("test", "dev")}


def _gsm8k(name: str) -> Splits:
    return {split: load_records("gsm8k", split) for split in ("test", "train")}


def _math(name: str) -> Splits:
    """lm-eval takes MATH by subject, from a repository that holds the same problems as the pinned one."""
    loaded = load_records("math")
    chosen = [
        record for record in loaded.records if record["type"].lower().replace(" & ", "_and_").replace(" ", "_") == name
    ]
    return {"test": replace(loaded, records=chosen)}


_PINNED: dict[tuple[str, str | None], Callable[[str], Splits]] = {
    ("openai/gsm8k", "main"): _gsm8k,
    ("HuggingFaceH4/MATH-500", "default"): _split("test", "math500"),
    ("allenai/ai2_arc", "ARC-Challenge"): _split("test", "arc_challenge"),
    ("truthfulqa/truthful_qa", "multiple_choice"): _split("validation", "truthfulqa"),
}
_PINNED_CONFIGURATIONS: dict[str, Callable[[str], Splits]] = {
    "cais/mmlu": _mmlu,
    "EleutherAI/hendrycks_math": _math,
    "SaylorTwift/bbh": lambda name: {"test": load_records("bbh", f"test/{name}")},
}
