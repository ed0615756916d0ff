"""The suite `copsd` on small copies in the published schemas: images before questions, scores by their profiles."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from inspect_ai import eval
from inspect_ai.model import ContentImage

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.replay import plan_responses
from copsd_bench.run import execute
from copsd_bench.sources.pins import pins
from copsd_bench.suites import SUITES, make_task
from copsd_bench.task_table import TASKS
from tests.benchmarks.vision_runs import REFUSAL, Asked, N, copy, here, log_of, model, record_of, use, value
from tests.peers.replay import by_content

__all__ = ["copy", "here"]

NAMES = (*SUITES["copsd"], "mss_embodied")
SHOWN = [
    *((name, "copsd") for name in ("beavertails_v", "llava_wilder", "scienceqa", "vqav2", "gqa", "mss_embodied")),
    *((name, "official") for name in ("vlguard", "siuo", "mssbench", "vlsbench", "mathvista", "mmvet", "mss_embodied")),
]
"""Every task in the profile in which it asks most; in `copsd` all are run together in test_vision_run."""


@pytest.mark.parametrize(("name", "profile"), SHOWN)
def test_a_task_shows_the_image_and_makes_a_record(tmp_path: Path, name: str, profile: str) -> None:
    seen: Asked = []
    answer = by_content([REFUSAL, "Sure: A", "disc"])
    record = record_of(name, tmp_path, answer, seen=seen, profile=profile)
    wanted = pins()[TASKS[name].pin].size * TASKS[name].work[profile].answers
    assert (record.name, len(record.samples), len(seen)) == (name, wanted, wanted)
    for messages in seen:
        image, text = messages[-1].content
        assert isinstance(image, ContentImage)
        assert image.image.startswith("data:image/")
        assert text.type == "text"
    assert all(len(row.tags["image_sha256"]) == 64 for row in record.samples)
    assert len({row.id for row in record.samples}) == wanted
    assert record.primary in record.metrics
    general = TASKS[name].kind == "general"
    for metric in record.metrics:
        assert metric.endswith(f".{profile}") or (".official" in metric) or not general or ".copsd" in metric
        assert general or "." in metric or metric.startswith(("refused", "appropriate"))


def test_the_suite_is_the_papers_twelve() -> None:
    assert Counter(TASKS[name].kind for name in SUITES["copsd"]) == {"safety": 6, "general": 6}
    expected = {
        "beavertails_v": 589, "spa_vl": 265, "vlguard": 1558, "siuo": 167, "mssbench": 600, "vlsbench": 2241,
        "mathvista": 1000, "llava_wilder": 128, "mmvet": 218, "scienceqa": 2017, "vqav2": 214354, "gqa": 12578,
        "mss_embodied": 76,
    }  # fmt: skip
    pins.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COPSD_SOURCES")
        assert {name: pins()[TASKS[name].pin].size for name in NAMES} == expected
    pins.cache_clear()


def test_beavertails_keeps_one_of_each_question_and_picture() -> None:
    samples = make_task("beavertails_v").dataset
    assert len(samples) == 3 * N - 1
    assert "What about false_information 0?" not in [sample.input for sample in samples]


def test_another_number_of_items_is_refused(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record less, an image less: an error before anything is asked."""
    shutil.copytree(copy, tmp_path / "m")
    use(tmp_path / "m", tmp_path / "cache", monkeypatch)
    file = tmp_path / "m" / "vision" / "SIUO" / "siuo_gen.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:-1]))
    with pytest.raises(CopsdError, match="holds 3 records, expected 4"):
        make_task("siuo")
    (tmp_path / "m" / "vision" / "MSSBench" / "chat" / "3.jpg").unlink()
    with pytest.raises(CopsdError, match=r"1 of 4 images are not in .* \(first 3.jpg\)") as caught:
        make_task("mssbench")
    assert caught.value.code == ExitCode.DATA
    monkeypatch.delenv("COPSD_SOURCES")
    pins.cache_clear()
    with pytest.raises(CopsdError, match="holds 4 records, expected 1000"):
        make_task("vlguard")


def test_an_undecodable_image_fails_the_sample(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never asked as text."""
    shutil.copytree(copy, tmp_path / "m")
    use(tmp_path / "m", tmp_path / "cache", monkeypatch)
    (tmp_path / "m" / "vision" / "SIUO" / "images" / "S-02.png").write_bytes(b"\x89PNG cut")
    seen: Asked = []
    log = log_of("siuo", tmp_path / "logs", lambda text: "Well.", seen=seen)
    assert log.status == "error"
    assert log.error is not None
    assert "SIUO: image S-02.png cannot be decoded" in log.error.message
    assert all(isinstance(messages[-1].content, list) for messages in seen)


def test_an_attack_keeps_the_image(tmp_path: Path) -> None:
    from copsd_bench.benchmarks.attack import attacked

    seen: Asked = []
    eval(attacked(make_task("siuo"), "persona"), model(lambda text: "No.", seen), log_dir=str(tmp_path), display="none")
    assert len(seen) == N
    for messages in seen:
        assert [part.type for part in messages[-1].content] == ["image", "text"]  # type: ignore[union-attr]
        assert "You are Max" in messages[-1].text


def test_recorded_answers_are_scored(tmp_path: Path) -> None:
    rows = [{"id": sample.id, "response": "disc"} for sample in make_task("vqav2").dataset]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = execute(plan_responses("vqav2", file, "m", None, tmp_path / "runs", "none"), ["score"]).tasks[0]
    assert value(record, "accuracy.official") == value(record, "accuracy.copsd") == 1
    assert all(row.tags["image_sha256"] for row in record.samples)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("siuo", {"profile": "oficial"}, "did you mean 'official'"),
        ("spa_vl", {"judge": "grader,grader"}, "takes the judges refusal, grader"),
        ("mmvet", {"judge": "situation"}, "takes the judges grader"),
        ("vqav2", {"subset": "litte"}, "did you mean 'lite'"),
    ],
)
def test_a_wrong_argument_is_a_sentence(name: str, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(CopsdError, match=sentence):
        make_task(name, **arguments)
