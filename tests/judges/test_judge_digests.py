"""Who judged is told by content, by role: one model may judge in two forms, and the tested model may judge itself."""

from pathlib import Path

import pytest

from copsd_bench.models.resolve import resolve_model
from copsd_bench.records.schema import ModelInfo
from copsd_bench.tested_model import judge_digests

API = ModelInfo(name="openai/x", weights_digest="api:openai/x", engine="inspect")


@pytest.fixture
def prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The text that a guard was trained on, in a mirror."""
    path = tmp_path / "judges" / "harmbench.txt"
    path.parent.mkdir()
    path.write_text("{prompt} {answer}", encoding="utf-8")
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    return path


def test_a_guards_text_counts_for_the_role_that_is_asked_in_it(prompt: Path) -> None:
    judges = "xstest:copsd/smollm2-135m,harmbench:copsd/smollm2-135m"
    before = judge_digests(judges, API)
    prompt.write_text("{prompt}\n{answer}", encoding="utf-8")
    after = judge_digests(judges, API)
    assert before["grader"] == after["grader"]
    assert before["grader_2"] != after["grader_2"]
    assert judge_digests("harmbench:openai/y", API).keys() == {"grader"}
    assert judge_digests("xstest:openai/y", API) == judge_digests("refusal", API) == judge_digests(None, API) == {}


def test_a_model_that_judges_itself_is_another_judge_after_training() -> None:
    found = resolve_model("smollm2-135m")
    base = ModelInfo(name="m", weights_digest=found.weights_digest, template_digest=found.template_digest)
    tuned = base.model_copy(update={"adapter_digest": "a" * 64})
    assert judge_digests("self", base)["grader"] != judge_digests("self", tuned)["grader"]
    assert judge_digests("self", API) == {}


def test_a_judge_in_a_folder_is_known_by_content_whoever_runs_it() -> None:
    folder = resolve_model("smollm2-135m").path
    ours, theirs = (judge_digests(f"xstest:{provider}/{folder}", API) for provider in ("copsd", "hf"))
    assert ours == theirs != {}
    assert judge_digests("xstest:hf/owner/name", API) == {}
