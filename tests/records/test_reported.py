"""Figures as papers report them: valid files, numbers as printed, and apart from what is measured."""

import json
from pathlib import Path

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.records.reported import all_reported, read_reported, reported_dir
from copsd_bench.records.store import find_records
from copsd_bench.report.board import board, printed

COPSD = reported_dir() / "copsd.json"
# Means of Table 2 over its six safety and its five other columns, and of Table 3 over all: taken when they were read.
MEANS = {
    "safety-4b": {
        "base": (64.20, 74.38),
        "SFT": (66.15, 78.86),
        "OPD": (67.36, 80.94),
        "GRPO": (82.36, 68.11),
        "Safe-RLHF-V": (78.22, 57.56),
        "COPSD (standard)": (81.56, 88.98),
        "COPSD (hybrid)": (84.96, 86.95),
    },
    "safety-7b": {
        "base": (54.08, 74.65),
        "SFT": (78.86, 90.39),
        "OPD": (78.08, 89.23),
        "GRPO": (82.06, 71.87),
        "Safe-RLHF-V": (68.01, 60.55),
        "COPSD (standard)": (86.80, 92.20),
        "COPSD (hybrid)": (82.92, 92.29),
    },
    "general-4b": {"base": (76.20,), "GRPO": (69.44,), "COPSD (standard)": (75.20,), "COPSD (hybrid)": (74.95,)},
    "general-7b": {"base": (72.61,), "SFT": (66.64,), "COPSD (standard)": (71.34,), "COPSD (hybrid)": (71.71,)},
}


@pytest.mark.parametrize(
    ("paper", "table", "system", "metric", "value"),
    [
        ("arXiv:2606.03089", "pilot", "OPSD-Const", "BeaverTails-V help", 25.00),
        ("arXiv:2606.03089", "pilot", "OPSD-Gold", "SPA-VL help", 10.19),
        ("arXiv:2606.03089", "pilot-collapse", "OPSD-Const", "1 − Self-BLEU", 0.429),
        ("arXiv:2606.03089", "safety-4b", "COPSD (standard)", "BeaverTails-V help", 81.29),
        ("arXiv:2606.03089", "safety-4b", "GRPO", "VLGuard compliance", 51.79),
        ("arXiv:2606.03089", "teacher-epochs", "teacher of 5 epochs", "SPA-VL help", 49.2),
        ("arXiv:2606.03089", "expressiveness", "student of the 5-epoch teacher", "Token entropy", 0.258),
        ("arXiv:2605.15239", "headline-qwen3-0.6b", "OPSA", "Safety composite S", 88.18),
        ("arXiv:2606.25442", "headline", "PolicyAlign", "Mean attack success", 6.95),
        ("arXiv:2606.02530", "qwen3-4b", "SafeSteer", "Mean attack success", 0.91),
    ],
)
def test_numbers_are_as_printed(paper: str, table: str, system: str, metric: str, value: float) -> None:
    (found,) = [file for file in all_reported() if file.source.paper == paper]
    assert found.table(table).value(system, metric) == value


@pytest.mark.parametrize("table", MEANS)
def test_columns_add_up_to_the_means(table: str) -> None:
    found = read_reported(COPSD).table(table)
    for system, means in MEANS[table].items():
        values = {metric.name: found.value(system, metric.name) for metric in found.metrics}
        safe = [value for name, value in values.items() if name.endswith(" safe")] or list(values.values())
        helpful = [value for name, value in values.items() if not name.endswith(" safe")]
        for group, mean in zip((safe, helpful), means, strict=False):
            assert sum(value or 0 for value in group) / len(group) == pytest.approx(mean, abs=0.0051), system


def test_every_file_says_where_its_numbers_come_from() -> None:
    files = all_reported()
    assert len(files) >= 8
    for file in files:
        assert file.source.paper
        assert file.source.url.startswith("https://")
        for table in file.tables:
            assert table.where
            assert table.base_model


def test_printed_digits_and_marks_are_kept() -> None:
    paper = read_reported(COPSD)
    shown = printed(paper, paper.table("pilot-collapse"))
    assert shown.grid.rows[0][:3] == ["base", "0.537", "≈ 390.000"]
    assert "read off a figure" in shown.notes[0]


def test_they_are_no_records(tmp_path: Path) -> None:
    assert find_records([reported_dir()]) == []
    page = board([], all_reported())
    measured, _, reported = page.partition('id="reported"')
    assert "81.29" in reported
    assert "81.29" not in measured


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table["rows"][0]["values"].pop(), "values for 11 metrics"),
        (lambda table: table["rows"].append(table["rows"][0]), "a system stands twice"),
        (lambda table: table.update(chart=["no such", "metric"]), "no metric of table"),
        (lambda table: table.update(evidence="rumour"), "tables.0.evidence"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, change: object, sentence: str) -> None:
    content = json.loads(COPSD.read_text())
    change(content["tables"][0])  # type: ignore[operator]
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(content))
    with pytest.raises(CopsdError, match=sentence):
        read_reported(file)
