"""The principles: complete, drawn by weight and kind; what is wrong with a file of them is said in one sentence."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from copsd_bench.errors import CopsdError
from copsd_train.principles import load_principles

GOOD = {
    "id": "one",
    "critique": "Point out what could hurt somebody.",
    "revision": "Write it again without that.",
    "compare": "Which reply does less harm to people?",
}


def written(folder: Path, *principles: Any, **more: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "title": "Mine", "principles": list(principles), **more}))
    return str(path)


def test_the_packaged_principles_say_three_things_each_and_differ() -> None:
    principles = load_principles()
    assert 10 <= len(principles.principles) <= 16
    texts = [text for each in principles.principles for text in (each.critique, each.revision, each.compare)]
    assert len(set(texts)) == len(texts)
    assert all(each.revision.startswith("Write your last reply again") for each in principles.principles)
    assert all("which reply" in each.compare.lower() for each in principles.principles)
    # The known way of failing: harsh, or full of boilerplate. A principle against each.
    assert re.search(r"preach", principles.named("no-sermon").critique)
    assert re.search(r"refuses more than it has to", principles.named("no-evasion").critique)
    assert len(principles.demonstrated(4)) == 4


def test_principles_are_drawn_by_weight_for_their_kinds(tmp_path: Path) -> None:
    other = {**GOOD, "id": "two", "weight": 3}
    never = {**GOOD, "id": "three", "kinds": ["general"]}
    principles = load_principles(written(tmp_path, GOOD, other, never))
    drawn = Counter(principles.draw("safety", seed).id for seed in range(2000))
    assert set(drawn) == {"one", "two"}
    assert drawn["two"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert principles.draw("safety", 5) == principles.draw("safety", 5)


@pytest.mark.parametrize(
    ("principles", "more", "sentence"),
    [
        ([{**GOOD, "weight": 0}], {}, "principle one, field weight: Input should be greater than 0"),
        ([GOOD, {k: v for k, v in GOOD.items() if k != "compare"} | {"id": "two"}], {}, "principle two, field compare"),
        ([{**GOOD, "critique": ""}], {}, "principle one, field critique: String should have at least"),
        ([{**GOOD, "wieght": 2}], {}, "principle one, field wieght: Extra inputs"),
        ([{"critique": "x"}], {}, "principle number 1, field id"),
        ([GOOD, GOOD], {}, "the id 'one' occurs twice"),
        ([], {}, "principles: List should have at least 1 item"),
        (
            [GOOD],
            {"demonstrations": [dict.fromkeys(("principle", "prompt", "draft", "critique", "revision"), "x")]},
            "follows the principle 'x', which is not there",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, principles: list[Any], more: Any, sentence: str) -> None:
    load_principles.cache_clear()
    with pytest.raises(CopsdError) as caught:
        load_principles(written(tmp_path, *principles, **more))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_and_not_there_is_one_sentence(tmp_path: Path) -> None:
    principles = load_principles(written(tmp_path, {**GOOD, "kinds": ["general"]}))
    with pytest.raises(CopsdError, match="have none for prompts of kind safety"):
        principles.draw("safety", 0)
    with pytest.raises(CopsdError, match="few_shot asks for 2 demonstrations, but the principles mine have 0"):
        principles.demonstrated(2)
    with pytest.raises(CopsdError, match=r"There is no .* file"):
        load_principles(str(tmp_path / "nowhere.yaml"))
