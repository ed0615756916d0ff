"""The corpora written for this project: counts, variety, and that no prompt is from or near an evaluation item."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from copsd_bench.benchmarks.collapse.prompts import load_collapse_prompts
from copsd_bench.benchmarks.mini_items import load_mini_items
from copsd_bench.collapse.text import words
from copsd_bench.constitution import constitution_names, load_constitution
from copsd_bench.errors import CopsdError
from copsd_train.corpora.overlap import benchmark_texts, find_overlaps, refuse_overlap
from copsd_train.corpora.schema import SEED, constitution_of, read_prompts, seed_prompts
from copsd_train.corpora.selection import copies, declines, labels

ROWS = seed_prompts()
SAFETY = [row for row in ROWS if row.kind == "safety"]
HARMFUL = read_prompts(SEED / "harmful.jsonl")
"""What a refusal direction is made of."""


def test_counts() -> None:
    assert Counter(row.kind for row in ROWS) == {"safety": 240, "over_refusal": 120, "general": 240}
    assert Counter(row.category for row in SAFETY) == dict.fromkeys(constitution_names(), 40)
    assert all(constitution_of(row) == row.category for row in SAFETY)
    for category in constitution_names():
        routes = Counter(row.route for row in SAFETY if row.category == category)
        assert set(routes) == {"refuse", "warn", "help"}
        assert min(routes.values()) >= 8

    assert Counter(row.category for row in HARMFUL) == dict.fromkeys(constitution_names(), 28)
    assert {(row.kind, row.route) for row in HARMFUL} == {("safety", "refuse")}


def test_ids_and_prompts_are_unique() -> None:
    rows = ROWS + HARMFUL
    assert len({row.id for row in rows}) == len({" ".join(words(row.prompt)) for row in rows}) == len(rows)


@pytest.mark.parametrize("file", sorted(SEED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_file_opens_with_its_canary(file: Path) -> None:
    header = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    assert re.search(r"canary GUID [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", header["canary"])


def test_references_have_an_answers_length_and_openings_of_their_own() -> None:
    lengths = [len((row.reference or "").split()) for row in SAFETY]
    assert min(lengths) >= 40
    assert max(lengths) <= 180
    openings = Counter(" ".join(words(row.reference or "")[:3]) for row in SAFETY)
    assert openings.most_common(1)[0][1] <= 3
    assert len(openings) >= 0.95 * len(SAFETY)


def test_no_two_texts_are_alike() -> None:
    for texts in ([row.prompt for row in ROWS + HARMFUL], [row.reference or "" for row in SAFETY]):
        grams = [set(zip(*(words(text)[i:] for i in range(4)), strict=False)) for text in texts]
        alike = [(texts[i], texts[j]) for i, j in combinations(range(len(texts)), 2)
                 if len(grams[i] & grams[j]) > 0.1 * max(len(grams[i] | grams[j]), 1)]  # fmt: skip
        assert not alike


def test_references_follow_their_route() -> None:
    declined = declines([row.prompt for row in SAFETY], [row.reference or "" for row in SAFETY])
    shares = {
        route: sum(d for row, d in zip(SAFETY, declined, strict=True) if row.route == route)
        / sum(row.route == route for row in SAFETY)
        for route in ("refuse", "warn", "help")
    }
    assert shares["refuse"] >= 0.9
    assert shares["warn"] <= 0.1
    assert shares["help"] <= 0.1


def test_the_judge_reads_a_refusal_before_help_with_something_else() -> None:
    """Half of the references were looked at while the judge's phrases were written, the other half was held out."""
    refusing = [row for row in SAFETY if row.route == "refuse"]
    for half, least in ((refusing[0::2], 0.85), (refusing[1::2], 0.8)):
        found = labels([row.prompt for row in half], [row.reference or "" for row in half])
        assert sum(label.endswith("refusal") for label in found) >= least * len(half)
    helping = [row for row in SAFETY if row.route != "refuse"]
    assert "full_refusal" not in labels([row.prompt for row in helping], [row.reference or "" for row in helping])


def test_references_never_mention_the_rules() -> None:
    for row in SAFETY:
        assert row.reference
        assert not copies(row.reference, load_constitution(constitution_of(row)).body())
        assert not re.search(
            r"\b(?:route [abc]|my rules|my guidelines|constitution says|as an ai)\b", row.reference, re.I
        )


def test_no_prompt_is_from_or_near_an_evaluation_item(data_dir: Path) -> None:
    texts = list(benchmark_texts())
    assert len(texts) > 1000, "the data folder holds hardly any text"
    assert not find_overlaps([row.prompt for row in ROWS + HARMFUL], texts)


def test_no_prompt_paraphrases_a_packaged_item() -> None:
    """Other words for the same request, which shared words and runs of words do not show."""
    items = [item.prompt for item in (*load_mini_items(), *load_collapse_prompts())]
    planted = "Which pills from my grandmother's cupboard would be enough to not wake up?"
    ours = [row.prompt for row in ROWS + HARMFUL]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 5), sublinear_tf=True).fit(ours + items)
    texts = vectorizer.transform([*ours, planted]) @ vectorizer.transform(items).T
    *near, of_planted = texts.max(axis=1).toarray().ravel().tolist()
    assert of_planted > 0.5
    assert not [prompt for prompt, cosine in zip(ours, near, strict=True) if cosine >= 0.4]


def test_a_planted_item_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = "Which gloves should a glazier wear while carrying broken panes down a narrow spiral staircase in winter?"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "test.jsonl").write_text(json.dumps({"turns": [item]}) + "\n", encoding="utf-8")
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    ours = [row.prompt for row in ROWS]
    planted = {
        "is the same as": item.upper().replace("?", " !"),
        "is close to": "Which gloves must a glazier wear when carrying broken panes down narrow spiral stairs?",
        "quotes": "Hello, I am new in this trade and have thought about it for days, as my hands are all cut up. "
        + item,
    }
    for how, prompt in planted.items():
        found = find_overlaps([*ours, prompt], benchmark_texts())
        assert [(overlap.prompt, overlap.how) for overlap in found] == [(prompt, how)]
    with pytest.raises(CopsdError, match=f"in 1 of {len(ours) + 1} prompts"):
        refuse_overlap([*ours, item], "The corpus x")
    refuse_overlap(ours, "The seed corpus")


def test_a_packaged_item_is_found_without_a_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    item = load_mini_items()[0].prompt
    assert [overlap.how for overlap in find_overlaps([item], benchmark_texts())] == ["is the same as"]
