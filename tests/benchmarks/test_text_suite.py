"""Every task whose data is at hand makes a record from answers; those of the hub read their published schemas."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval

from copsd_bench.benchmarks.execution import NO_SANDBOX
from copsd_bench.benchmarks.text.harmbench import behaviour
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.alpha import krippendorff_alpha
from copsd_bench.records.build import task_record
from copsd_bench.replay import plan_responses
from copsd_bench.run import execute
from copsd_bench.sources.pins import pins
from copsd_bench.suites import SUITES, TASKS, make_task
from tests.peers.replay import by_content, evaluated, replaying

LIMIT = 8
HERE = [name for name, info in TASKS.items() if info.pin and all(f.sha256 for f in pins()[info.pin].files.values())]
ANSWERS = ["I'm sorry, but I can't help with that.", "Sure! Here is how: first, open the box.\n\nANSWER: B", "42"]


@pytest.mark.parametrize("name", HERE)
def test_a_task_makes_a_record_from_any_answers(data_dir: Path, tmp_path: Path, name: str) -> None:
    task = make_task(name)
    log = evaluated(task, replaying(by_content(ANSWERS)), tmp_path, limit=LIMIT)
    record = task_record(log, seed=0)
    assert (record.name, len(record.samples)) == (name, LIMIT)
    assert record.dataset.count == pins()[TASKS[name].pin].size
    assert record.dataset.licence
    assert record.primary in record.metrics
    assert record.primary == TASKS[name].metric or TASKS[name].metric == "strongreject"
    for metric, estimate in record.metrics.items():
        assert estimate.value is None or 0 <= estimate.value <= 1, metric
        assert estimate.n + estimate.n_unscored <= LIMIT
    refused = record.panel["refusal"].value
    assert refused is not None
    assert refused < 1
    assert len({str(sample.id) for sample in task.dataset}) == len(task.dataset)


@pytest.mark.parametrize("name", HERE)
def test_a_limit_is_balanced_over_classes_and_categories(data_dir: Path, name: str) -> None:
    strata = [(s.metadata["group"], s.metadata.get("category", "")) for s in make_task(name).dataset if s.metadata]
    first = Counter(strata[:LIMIT])
    groups = Counter(group for group, _ in strata[:LIMIT])
    assert max(groups.values()) - min(groups.values()) <= 1
    assert set(groups) == {group for group, _ in strata}
    assert len(first) >= min(LIMIT, len(set(strata))) / 2


def test_the_suite_is_six_of_safety_and_six_of_skill(data_dir: Path) -> None:
    kinds = Counter(TASKS[name].kind for name in SUITES["text"])
    assert kinds == {"safety": 6, "general": 6}
    for suite in SUITES.values():
        assert set(suite) <= set(TASKS)


def test_jailbreakbench_pairs_twins_and_harmbench_puts_the_context_first(data_dir: Path) -> None:
    twins = Counter(
        (s.metadata["twin"], s.metadata["category"]) for s in make_task("jailbreakbench").dataset if s.metadata
    )
    assert set(twins.values()) == {2}
    assert len(twins) == 100
    task = make_task("harmbench")
    assert len(task.dataset) == 300
    assert behaviour({"ContextString": "", "Behavior": "b"}) == "b"
    assert behaviour({"ContextString": "c", "Behavior": "b"}) == "c\n\n---\n\nb"
    assert any("copyright" in note for note in (task.metadata or {})["copsd"]["notes"])


@pytest.mark.parametrize("name", ["mmlu", "humaneval", "bbh"])
def test_recorded_answers_are_scored_as_generated_ones(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # no docker, whatever this machine has
    chosen = list(make_task(name).dataset)[:4]
    golds = {
        "mmlu": lambda s: f"ANSWER: {s.target}",
        "humaneval": lambda s: s.target,
        "bbh": lambda s: "the answer is X.",
    }
    rows = [{"id": str(sample.id), "response": golds[name](sample)} for sample in chosen]
    rows[0]["response"] = "no idea"
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    record = execute(plan_responses(name, file, "m", None, tmp_path / "runs", "none"), ["score"]).tasks[0]
    estimate = record.metrics[record.primary]
    if name == "humaneval":
        assert (estimate.value, estimate.n_unscored) == (None, 4)
        assert NO_SANDBOX in record.notes
    else:
        assert estimate.value == {"mmlu": 0.75, "bbh": 0.0}[name]


def test_a_missing_or_altered_file_is_one_sentence(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of MMLU's 114 files."""
    for split in ("test", "dev"):
        (tmp_path / "MMLU" / split).mkdir(parents=True)
        for path in (data_dir / "MMLU" / split).iterdir():
            (tmp_path / "MMLU" / split / path.name).symlink_to(path)
    broken = tmp_path / "MMLU" / "test" / "virology_test.csv"
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    broken.unlink()
    broken.write_text("question,choice0,choice1,choice2,choice3,answer\nq,a,b,c,d,0\n", encoding="utf-8")
    with pytest.raises(CopsdError, match=r"virology_test\.csv was altered or cut") as caught:
        make_task("mmlu")
    assert caught.value.code == ExitCode.DATA
    broken.unlink()
    with pytest.raises(CopsdError, match=r"MMLU \(test/virology\) is not at hand") as caught:
        make_task("mmlu")
    assert "\n" not in str(caught.value)


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
    hub_only = {name for name, info in TASKS.items() if info.pin} - set(HERE)
    assert hub_only == set(SCHEMAS) - {"mbpp"}
    gated = {name for name, pin in pins().items() if pin.hub is not None and pin.hub.gated}
    assert gated <= hub_only


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_set_is_read_in_its_published_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
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
    task = make_task(name)
    assert len(task.dataset) == EXPECTED.get(name, len(SCHEMAS[name]))
    assert all(sample.input for sample in task.dataset)
    groups = {sample.metadata["group"] for sample in task.dataset if sample.metadata}
    both = TASKS[name].metric == "appropriate"
    assert groups == ({"general"} if TASKS[name].kind == "general" else {"harmful", "benign"} if both else {"harmful"})
    if name == "alert":
        assert {sample.input for sample in task.dataset} == {"p1", "p2"}


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


def test_nan_is_not_a_number_of_a_record(data_dir: Path, tmp_path: Path) -> None:
    """A judge that never gives a verdict: everything unscored, and no score."""
    task = make_task("jailbreakbench", judge="xstest")
    log = evaluated(task, replaying(lambda text: "Sure, here it is."), tmp_path, limit=4, judge=lambda text: "nonsense")
    record = task_record(log, seed=0)
    estimate = record.metrics[record.primary]
    assert (estimate.value, estimate.n, estimate.n_unscored) == (None, 0, 2)
    assert not any(isinstance(v, float) and math.isnan(v) for row in record.samples for v in row.scores.values())


def test_alpaca_eval_compares_in_both_orders_and_only_with_a_judge(data_dir: Path, tmp_path: Path) -> None:
    """A judge that always prefers the first answer gives ties."""
    log = evaluated(
        make_task("alpaca_eval", judge="grader"), replaying(lambda text: "Well."), tmp_path / "judged", limit=3,
        judge=lambda text: "It is better.\n**VERDICT: A**",
    )  # fmt: skip
    assert task_record(log, seed=0).metrics["win_rate"].value == 0.5
    log = evaluated(make_task("alpaca_eval"), replaying(lambda text: "Well."), tmp_path / "alone", limit=3)
    record = task_record(log, seed=0)
    assert (record.metrics["win_rate"].value, record.metrics["win_rate"].n_unscored) == (None, 3)
    assert record.notes[0].startswith("unscored: no judge")


def test_several_judges_stand_side_by_side_with_their_agreement(data_dir: Path, tmp_path: Path) -> None:
    answer = by_content(["I'm sorry, I can't.", "Sure, here it is."])

    def judge(text: str) -> str:
        return "VERDICT: full_refusal" if "sorry" in text else "VERDICT: full_compliance"

    task = make_task("jailbreakbench", judge="xstest,xstest")
    roles = {"grader": replaying(judge), "grader_2": replaying(lambda text: "VERDICT: full_refusal")}
    (log,) = eval(task, model=replaying(answer), model_roles=roles, limit=10, log_dir=str(tmp_path), display="none")
    record = task_record(log, seed=0)
    names = ("judged_appropriate", "judged_appropriate_2")
    first, second = ([row.scores[name] for row in record.samples] for name in names)
    assert record.metrics["agreement"].value == krippendorff_alpha([first, second])
    assert record.metrics["agreement"].n == 10
    assert record.metrics["judged_appropriate_2/benign"].value == 0.0
    assert record.judges["judged_appropriate_2"] == "mockllm/model"
