"""The row schema: every format reads alike, and every mistake is one sentence with file, line and field."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from copsd_bench.errors import CopsdError
from copsd_train.corpora.schema import (
    PromptRow,
    SftRow,
    constitution_of,
    read_pairs,
    read_prompts,
    read_sft,
    require_both_sides,
    write_rows,
)

ROWS = [
    {"id": "a", "prompt": "One, two?", "kind": "general", "category": "facts"},
    {"id": "b", "prompt": "Line\nbreak", "kind": "safety", "category": "hate", "reference": "No.", "route": "refuse"},
]


def test_jsonl_csv_and_parquet_read_alike(tmp_path: Path) -> None:
    canary = json.dumps({"canary": "x"})
    (tmp_path / "rows.jsonl").write_text("\n".join([canary, *map(json.dumps, ROWS)]), encoding="utf-8")
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(ROWS[1]))
        table.writeheader()
        table.writerows(ROWS)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS[::-1]), tmp_path / "rows.parquet")
    read = [read_prompts(tmp_path / f"rows.{kind}") for kind in ("jsonl", "csv", "parquet")]
    without_source = [[row.model_dump(exclude={"source"}) for row in sorted(rows, key=lambda r: r.id)] for rows in read]
    assert without_source[0] == without_source[1] == without_source[2]
    assert [row.source for row in read[1]] == ["rows.csv"] * 2


def test_numbers_and_truths_in_a_csv_are_read_as_such(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text(
        "prompt,kind,chosen,rejected,label,chosen_complete\nOne?,general,Yes.,No.,0.75,false\n", encoding="utf-8"
    )
    [pair] = read_pairs(tmp_path / "pairs.csv")
    assert (pair.label, pair.chosen_complete) == (0.75, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ('{"canary": "x"}\n', "no rows; give at least one with the fields prompt, kind"),
        ('{"prompt": "a", "kind": "genral"}', "line 1 is wrong at kind"),
        ('\n{"prompt": " ", "kind": "general"}', "line 2 is wrong at prompt: the text is empty"),
        ('{"prompt": 5, "kind": "general"}', "line 1 is wrong at prompt"),
        ('{"kind": "general"}', "line 1 is wrong at prompt: Field required"),
        ('{"prompt": "a", "kind": "general", "answer": "b"}', "line 1 is wrong at answer"),
        ('{"prompt": "a", "kind": "safety", "constitution": "hat"}', "at constitution: Unknown constitution 'hat'"),
        ('{"id": "x", "prompt": "a", "kind": "safety"}\n' * 2, "line 2 is wrong at id: 'x' occurs twice"),
        ('{"prompt": "a"', "line 1 is not valid JSON"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(CopsdError) as caught:
        read_prompts(tmp_path / "rows.jsonl")
    assert words in str(caught.value)
    assert "rows.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("response", ["", " \n"])
def test_an_example_without_a_response_is_refused(tmp_path: Path, response: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a", "kind": "general", "response": response}))
    with pytest.raises(CopsdError, match="line 1 is wrong at response"):
        read_sft(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("name", ["rows.txt", "missing.jsonl"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.txt").write_text("hi")
    with pytest.raises(CopsdError, match=name):
        read_prompts(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_examples_survive_writing(tmp_path: Path, suffix: str) -> None:
    rows = [
        SftRow(id="1", prompt="p", response="r\u2028s", kind="safety", context="hate", provenance={"tokens": 3}),
        SftRow(id="2", prompt="q", response="t", kind="general", complete=False, provenance={"branch": "preserving"}),
    ]
    write_rows(tmp_path / f"rows{suffix}", rows)
    assert read_sft(tmp_path / f"rows{suffix}") == rows


def test_the_constitution_follows_the_category_of_safety_rows() -> None:
    def row(**fields: object) -> PromptRow:
        return PromptRow.model_validate({"id": "1", "prompt": "p", "kind": "safety", **fields})

    assert constitution_of(row(category="privacy")) == "privacy"
    assert constitution_of(row(category="deception")) == "default"
    assert constitution_of(row(category="privacy", constitution="hate")) == "hate"
    assert constitution_of(row(category="privacy", kind="over_refusal")) == "default"


@pytest.mark.parametrize("kinds", [[], ["safety"], ["general", "over_refusal"]])
def test_an_empty_or_one_sided_corpus_is_refused(kinds: list[str]) -> None:
    rows = [PromptRow.model_validate({"id": str(i), "prompt": "p", "kind": kind}) for i, kind in enumerate(kinds)]
    with pytest.raises(CopsdError, match="at least one row of kind safety"):
        require_both_sides(rows, "The corpus x")
