"""Sets that only the hub has are read in exactly their published schemas, and say what a gate asks for."""

import json
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.sources.pins import pins
from copsd_bench.suites import SUITES, TASKS, make_task

SUBJECTS = [
    "Algebra", "Counting & Probability", "Geometry", "Intermediate Algebra", "Number Theory", "Prealgebra",
    "Precalculus",
]  # fmt: skip
SAFE, UNSAFE = dict.fromkeys(("violence", "privacy"), False), {"violence": True, "privacy": False}
SCHEMAS: dict[str, list[dict[str, Any]]] = {
    "sorry_bench": [{"question_id": i, "category": str(i), "turns": [f"q{i}"], "prompt_style": "base"} for i in (1, 2)]
    + [{"question_id": 1, "category": "1", "turns": ["mutated"], "prompt_style": "slang"}],
    "harmfulqa": [
        {"id": i, "topic": "t", "subtopic": "s", "question": f"q{i}", "blue_conversations": {}, "red_conversations": {}}
        for i in (1, 2)
    ],
    "alert": [
        {"id": 1, "category": "hate_women", "prompt": "### Instruction:\np1\n### Response:\n"},
        {"id": 2, "category": "hate_women", "prompt": "p2"},
    ],
    "pku_saferlhf": [
        {
            "prompt": prompt, "prompt_source": "s", "response_0": "a", "response_1": "b", "response_0_source": "m",
            "response_1_source": "m", "is_response_0_safe": safe, "is_response_1_safe": True,
            "response_0_harm_category": SAFE if safe else UNSAFE, "response_1_harm_category": SAFE,
            "response_0_severity_level": 0 if safe else 2, "response_1_severity_level": 0, "better_response_id": 1,
            "safer_response_id": 1, "response_0_sha256": "0", "response_1_sha256": "1",
        }
        for prompt, safe in (("p1", True), ("p2", False), ("p2", True))
    ],
    "wildguardtest": [
        {
            "prompt": f"p{i}", "adversarial": False, "response": "r", "prompt_harm_label": label,
            "response_refusal_label": "refusal", "response_harm_label": "unharmful", "prompt_harm_agreement": 1.0,
            "response_refusal_agreement": 1.0, "response_harm_agreement": 1.0, "subcategory": "c",
        }
        for i, label in enumerate(("harmful", "unharmful", None))
    ],
    "wildjailbreak": [
        {"adversarial": f"a{i}", "label": label, "data_type": kind}
        for i, (label, kind) in enumerate(((1, "adversarial_harmful"), (0, "adversarial_benign")))
    ],
    "or_bench": [{"prompt": f"p{i}", "category": category} for i, category in enumerate(("deception", "privacy"))],
    "linguasafe": [
        {
            "id": i, "prompt": f"p{i}", "lang": lang, "subtype": "privacy", "level": level, "specific": False,
            "source": "native", "eval": way,
        }
        for i, lang, level, way in (
            (1, "en", 0, "direct"), (2, "en", 3, "direct"), (2, "en", 3, "indirect"), (3, "zh", 3, "direct"),
        )
    ],
    "math": [{"problem": "p", "level": "Level 1", "type": t, "solution": "$\\boxed{1}$"} for t in SUBJECTS],
    "mmlu_pro": [
        {"question_id": 1, "question": "q", "options": ["a", "b"], "answer": "B", "answer_index": 1, "cot_content": "",
         "category": "law", "src": "s"}
    ],
    "gpqa_diamond": [
        {"Question": "q", "Correct Answer": "a", "Incorrect Answer 1": "b", "Incorrect Answer 2": "c",
         "Incorrect Answer 3": "d", "Explanation": "e", "Subdomain": "s", "High-level domain": "Physics",
         "Record ID": "r"}
    ],
    "mbpp": [
        {"source_file": "s", "task_id": i, "prompt": "Add.", "code": "def f(a): ...", "test_imports": [],
         "test_list": ["assert f(1) == 1"]}
        for i in (2, 11, 510, 511)
    ],
}  # fmt: skip
"""Records with the columns of the published files; GPQA has many more, about its writers and reviewers."""
EXPECTED = {"sorry_bench": 2, "pku_saferlhf": 2, "wildguardtest": 2, "linguasafe": 2, "mbpp": 2, "or_bench": 4}
"""Where items are not records: mutations, repeats, other languages, unlabelled prompts and other splits are left out;
OR-Bench has two files."""


def test_every_set_that_only_the_hub_has_is_among_them() -> None:
    vision = {TASKS[name].pin for name in (*SUITES["copsd"], "mss_embodied")}  # theirs: test_vision_suite.py
    pinned = {info.pin for info in TASKS.values() if info.pin} - vision
    hub_only = {name for name in pinned if not all(file.sha256 for file in pins()[name].files.values())}
    assert hub_only == set(SCHEMAS) - {"mbpp"}
    gated = {name for name, pin in pins().items() if pin.hub is not None and pin.hub.gated} - vision
    assert gated <= hub_only


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_set_is_read_in_its_published_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    publish(name, tmp_path, monkeypatch)
    task = make_task(name)
    assert len(task.dataset) == EXPECTED.get(name, len(SCHEMAS[name]))
    assert all(sample.input for sample in task.dataset)
    groups = {sample.metadata["group"] for sample in task.dataset if sample.metadata}
    both = TASKS[name].metric == "appropriate"
    assert groups == ({"general"} if TASKS[name].kind == "general" else {"harmful", "benign"} if both else {"harmful"})
    if name == "alert":
        assert {sample.input for sample in task.dataset} == {"p1", "p2"}


def publish(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that holds the set's records, unpinned."""
    pin = pins()[name]
    records = SCHEMAS[name]
    for file in pin.files.values():
        path = tmp_path / file.mirror
        path.parent.mkdir(parents=True, exist_ok=True)
        # Files of one set hold different prompts.
        write(
            path, records if len(pin.files) == 1 else [{**r, "prompt": f"{path.stem} {r['prompt']}"} for r in records]
        )
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    files = {key: file.model_copy(update={"count": 0, "sha256": ""}) for key, file in pin.files.items()}
    monkeypatch.setitem(pins(), name, pin.model_copy(update={"files": files}))


@pytest.mark.parametrize("name", [name for name, pin in pins().items() if pin.hub is not None and pin.hub.gated])
def test_a_gated_set_says_which_terms_and_token_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(CopsdError, match=f"accept its terms at .*{pins()[name].hub.repo} and set HF_TOKEN") as caught:
        make_task(name)
    assert "\n" not in str(caught.value)


def write(path: Path, records: list[dict[str, Any]]) -> None:
    """A file in the format its name says."""
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix in (".csv", ".tsv"):
        import csv

        with path.open("w", encoding="utf-8", newline="") as out:
            table = csv.DictWriter(out, list(records[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(records)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
