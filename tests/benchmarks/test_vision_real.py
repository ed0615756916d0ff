"""The real images and records at hand: published counts, right answers score as right, and pixels reach a model."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.dataset import Sample

from copsd_bench.benchmarks.vision.metrics.vqa import normalise
from copsd_bench.config import RunConfig
from copsd_bench.errors import CopsdError
from copsd_bench.records.build import task_record
from copsd_bench.records.schema import TaskRecord
from copsd_bench.run import execute, plan
from copsd_bench.sources.pins import pins
from copsd_bench.suites import make_task
from tests.benchmarks.pictures import picture
from tests.benchmarks.real_pictures import COUNT, write_real_sets
from tests.benchmarks.test_vision_metrics import by_definition
from tests.models.tiny_vlm import save_tiny_vlm
from tests.peers.replay import replaying

USED = 40
"""Items of a test that shows all images to a stand-in."""


@pytest.fixture(scope="module")
def real(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    write_real_sets(data_dir, folder)
    return folder


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    pins.cache_clear()
    yield
    pins.cache_clear()


@pytest.fixture
def tables(real: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPSD_DATA_DIR", str(real))
    monkeypatch.setenv("COPSD_SOURCES", str(real / "sources.yaml"))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(real / "cache"))
    return real


def answered(name: str, logs: Path, answer: Callable[[Sample], str]) -> tuple[TaskRecord, list[Sample]]:
    """A task whose model knows each sample by its question (and, where that stands twice, answers as for the last)."""
    task = make_task(name)
    known = {str(sample.input): answer(sample) for sample in task.dataset}
    (log,) = eval(task, replaying(lambda text: known[text]), log_dir=str(logs), limit=USED, display="none")
    assert log.status == "success", log.error
    return task_record(log, seed=0), list(task.dataset)


def test_vqav2s_annotators_agree_with_themselves(tables: Path, tmp_path: Path) -> None:
    """The most frequent answer, scored by definition on normal forms."""
    record, samples = answered("vqav2", tmp_path, lambda sample: str(sample.target))
    assert (len(record.samples), record.dataset.count) == (USED, COUNT)
    asked = Counter(str(sample.input) for sample in samples)
    expected = {}
    for sample in samples:
        gold = (sample.metadata or {})["gold"]
        form = normalise if len(set(gold)) > 1 else str
        if asked[str(sample.input)] == 1:
            expected[str(sample.id)] = by_definition(form(str(sample.target)), [form(answer) for answer in gold])
    for row in record.samples:
        if row.id in expected:
            assert row.scores["accuracy.official"] == pytest.approx(expected[row.id])
    assert len(expected) > 90
    assert 0.8 < sum(expected.values()) / len(expected) < 0.9  # people agree no more than that


def test_scienceqas_answers_are_its_letters(tables: Path, tmp_path: Path) -> None:
    record, samples = answered("scienceqa", tmp_path, lambda sample: f"{sample.target}.")
    assert len(record.samples) == USED
    assert record.metrics["accuracy.copsd"].value == 1
    assert record.metrics["accuracy.official"].value == 0  # LLaVA's script wants a space behind the period
    assert all("\nA. " in str(sample.input) and "(A)" not in str(sample.input) for sample in samples)


def test_real_pictures_go_through_a_model(tables: Path, tmp_path: Path) -> None:
    """Real photographs of every size, through a small random vision-language model of the Qwen family."""
    folder = save_tiny_vlm(tmp_path / "model", "qwen3_vl")
    settings = {"model": str(folder), "task": ["vqav2", "scienceqa"], "limit": 2, "max_tokens": 4, "dtype": "float32"}
    record = execute(plan(RunConfig(**settings, out=tmp_path / "runs", display="none")), ["run"])
    for task in record.tasks:
        assert task.generation["pixels"] == [200_704, 1_605_632]
        for row in task.samples:
            # The processor's grid of 16 pixels: more than 200,704 of them a picture.
            assert (row.input_tokens or 0) > 200_704 / 16**2
            assert row.mean_entropy is not None


@pytest.mark.parametrize(
    ("name", "file", "field", "counts"),
    [
        ("siuo", "SIUO/siuo_gen.json", "category", {"privacy violation": 21, "self-harm": 19}),
        ("vlsbench", "VLSBench/data.json", "category", {"Violent": 590, "Privacy": 130}),
        ("mathvista", "MathVista/testmini.json", "question_type", {"multi_choice": 540, "free_form": 460}),
    ],
)
def test_real_records_make_the_published_items(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str, field: str, counts: Any
) -> None:
    """With drawn images, as the real ones are not at hand; without any the task is refused."""
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    target = tmp_path / "vision" / file
    target.parent.mkdir(parents=True)
    shutil.copy(data_dir / "vision" / file, target)
    with pytest.raises(CopsdError, match="are not at hand"):
        make_task(name)
    records = json.loads(target.read_text())
    records = list(records.values()) if isinstance(records, dict) else records
    folder = target.parent / {"vlsbench": "imgs"}.get(name, "images")
    folder.mkdir()
    drawn = folder / "drawn"
    drawn.write_bytes(picture(1, "PNG"))
    for image in {Path(record.get("image_path") or record["image"]).name for record in records}:
        (folder / image).hardlink_to(drawn)
    samples = list(make_task(name).dataset)
    found = Counter(
        (s.metadata or {})["category"] if field == "category" else (s.metadata or {})["tags"][field] for s in samples
    )
    assert len(samples) == len(records) == pins()[name].size
    assert counts.items() <= found.items()
