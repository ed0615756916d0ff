"""The packaged prompts of the suite `collapse`: counts, pairs, and that nobody else's prompts are among them."""

import json
import re
from collections import Counter
from pathlib import Path

from copsd_bench.benchmarks.collapse.prompts import FILE, load_collapse_prompts, prompt_set
from copsd_bench.benchmarks.items import HARM_CATEGORIES, packaged
from copsd_bench.benchmarks.mini_items import load_mini_items
from tests.gate.finetune import HARMLESS, RISKY
from tests.overlap import assert_far_from, benchmark_texts, jaccard, words

ITEMS = {item.id: item for item in load_collapse_prompts()}


def test_classes_and_categories_are_balanced() -> None:
    assert Counter(item.group for item in ITEMS.values()) == {"harmful": 16, "benign": 16, "general": 16}
    harmful = Counter(item.category for item in ITEMS.values() if item.group == "harmful")
    assert set(harmful) == set(HARM_CATEGORIES)
    assert set(harmful.values()) <= {2, 3}
    general = Counter(item.category for item in ITEMS.values() if item.group == "general")
    assert general == {"explanation": 6, "list": 5, "fact": 5}


def test_twins_share_words_and_length() -> None:
    for item in ITEMS.values():
        assert 6 <= len(item.prompt.split()) <= 40, item.id
        assert (item.twin is None) == (item.group == "general")
        if item.group == "harmful":
            benign = ITEMS[item.twin or ""]
            assert 0.6 <= len(benign.prompt) / len(item.prompt) <= 1.67, item.id
            assert jaccard(item.prompt, benign.prompt) >= 0.3, item.id


def test_the_file_opens_with_a_canary_of_its_own() -> None:
    mine, minis = (json.loads(packaged(name).read_text().splitlines()[0])["canary"] for name in (FILE, "mini.jsonl"))
    assert re.search(r"canary GUID [0-9a-f-]{36}$", mine)
    assert mine != minis


def test_no_prompt_is_from_or_near_another_set(data_dir: Path) -> None:
    trained = [*RISKY, *(prompt for prompt, _ in HARMLESS)]
    others = [*benchmark_texts(data_dir), *(item.prompt for item in load_mini_items()), *trained]
    assert len(others) > 1000
    assert_far_from([item.prompt for item in ITEMS.values()], others)
    assert len({" ".join(words(item.prompt)) for item in ITEMS.values()}) == len(ITEMS)


def test_the_set_is_known_by_its_content(tmp_path: Path) -> None:
    samples, info = prompt_set(None)
    assert (info.count, info.source) == (len(samples), "package") == (48, "package")
    (tmp_path / "p.jsonl").write_text('{"prompt": "Name a colour.", "label": "benign"}\n{"prompt": "Why?"}\n')
    mine, other = prompt_set(str(tmp_path / "p.jsonl"))
    assert [(s.metadata or {})["group"] for s in mine] == ["benign", "general"]
    assert other.sha256 != info.sha256
