"""Prompts written for this project must be no copies of others, and none that anything is trained on."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer


def assert_far_from(prompts: Iterable[str], others: Iterable[str]) -> None:
    """Against every other text of 4 to 120 words: not equal, no quarter of a prompt's word 5-grams in one text, no word
    overlap (Jaccard) of one half."""
    ours = [" ".join(words(prompt)) for prompt in prompts]
    texts = sorted({" ".join(found) for text in others if 4 <= len(found := words(text)) <= 120})
    assert texts, "there is nothing to compare with"
    assert not set(ours) & set(texts)

    shared, lengths = _shared_features(ours, texts, n=1)
    theirs = np.array([len(set(text.split())) for text in texts])
    overlap = shared / (lengths[:, None] + theirs[None, :] - shared)
    assert overlap.max() < 0.5, _nearest(overlap, ours, texts)
    shared, lengths = _shared_features(ours, texts, n=5)
    covered = shared / np.maximum(lengths, 4)[:, None]  # a prompt of a few 5-grams may share one of them
    assert covered.max() <= 0.25, _nearest(covered, ours, texts)


def _shared_features(prompts: list[str], texts: list[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct word n-grams that prompt i shares with text j, and how many each prompt has."""

    def grams(text: str) -> set[str]:
        found = text.split()
        return {" ".join(found[i : i + n]) for i in range(len(found) - n + 1)}

    vectorizer = CountVectorizer(analyzer=grams)
    ours = vectorizer.fit_transform(prompts)
    shared = (ours @ vectorizer.transform(texts).T).toarray()
    return shared, np.array([len(grams(prompt)) for prompt in prompts])


def _nearest(score: np.ndarray, prompts: list[str], texts: list[str]) -> tuple[float, str, str]:
    i, j = np.unravel_index(score.argmax(), score.shape)
    return float(score[i, j]), prompts[i], texts[j]


def words(text: str) -> list[str]:
    """Case-folded words."""
    return re.findall(r"\w+", text.casefold())


def jaccard(a: str, b: str) -> float:
    """Distinct words in both texts over distinct words in either."""
    return len(set(words(a)) & set(words(b))) / len(set(words(a)) | set(words(b)))


def benchmark_texts(folder: Path) -> Iterator[str]:
    """Every text in the tables of a data folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.reader(file):
                    yield from row
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                yield from _strings(json.loads(line)) if line.strip() else ()
        elif path.suffix == ".json":
            yield from _strings(json.loads(path.read_text(encoding="utf-8")))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
