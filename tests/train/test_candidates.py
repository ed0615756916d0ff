"""Candidate contexts: the packaged ones are whole, files are checked, and names lead to one thing."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from copsd_bench.errors import CopsdError
from copsd_train.candidates import CONTEXTS, find_candidates, packaged, packaged_files
from copsd_train.corpora.schema import PromptRow
from copsd_train.load_recipe import load_recipe

ROW = PromptRow(id="a", prompt="How do I pick a lock?", kind="safety", category="privacy")


def test_every_packaged_context_has_its_own_name_and_holds_the_question() -> None:
    names = Counter(name for path in CONTEXTS.glob("*.yaml") for name in yaml.safe_load(path.read_text())["contexts"])
    assert set(names.values()) == {1}
    for candidate in find_candidates(packaged_files()):
        messages = candidate.context(ROW).apply([{"role": "user", "content": ROW.prompt}])
        assert ROW.prompt in messages[-1]["content"]
        assert candidate.classes


def test_a_constitution_is_a_candidate_by_name_and_by_the_category_of_a_prompt() -> None:
    by_name, by_category = find_candidates(["privacy", "category"])
    assert by_name.context(ROW) == by_category.context(ROW)
    assert by_name.context(ROW) != find_candidates(["default"])[0].context(ROW)
    assert by_name.classes == ("harmful", "benign")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no contexts"),
        ("for: harmful\ncontexts: {}", "has no contexts"),
        (
            "for: harmful\ncontexts: {a: {text: Refuse.}}",
            r"wrong at contexts.a: text holds the slot \{user_query\} once",
        ),
        ("for: evil\ncontexts: {a: {text: '{user_query}'}}", "wrong at for: Input should be 'harmful', 'benign' or"),
        ("for: harmful\ncontexts: {a: {text: '{user_query}', txt: b}}", "wrong at contexts.a.txt"),
        ("[]", "must be a mapping"),
        ("for: [", "is not valid YAML"),
        ("for: harmful\ncontexts: {decline-firm: {text: '{user_query}'}}", "Two different contexts have the name"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(CopsdError, match=sentence) as caught:
        find_candidates(["refusal", str(file)])
    assert "\n" not in str(caught.value)


def test_an_unknown_name_leads_to_the_nearest() -> None:
    with pytest.raises(CopsdError, match="Unknown context 'decline-fir'; did you mean 'decline-firm'"):
        find_candidates(["decline-fir"])
    with pytest.raises(CopsdError, match=r"distill.teacher.instructions: Unknown context 'help-shrt'; did you mean"):
        load_recipe("opsa", ["distill.teacher.instructions.general=help-shrt"])


def test_a_recipe_takes_a_packaged_context_by_name_or_a_text_of_its_own() -> None:
    recipe = load_recipe("opsa", ["distill.teacher.instructions.safety=Decline. {user_query}"])
    assert recipe.distill is not None
    assert recipe.distill.teacher.instructions["safety"] == "Decline. {user_query}"
    assert set(recipe.distill.teacher.instructions.values()) - {"Decline. {user_query}"} <= set(packaged())
