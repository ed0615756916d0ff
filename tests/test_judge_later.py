"""`--judge-later`: one model in memory at a time, the same record, and both phases continue where they stopped."""

import gc
import shutil
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.config import RunConfig
from copsd_bench.engine import spec
from copsd_bench.engine.classifier import ClassifierAPI
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.worker import Worker
from copsd_bench.errors import CopsdError
from copsd_bench.records.schema import RunRecord, TaskRecord
from copsd_bench.run import execute, plan
from tests.engine.tiny import save_tiny, save_tiny_classifier

LIMIT = 4
TASKS = ["jailbreakbench", "aime24"]
"""One that a model judges, and one that none does."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("models")
    judge = save_tiny_classifier(folder / "judge", ("harm", "lies"), max_position_embeddings=2048)
    tested = save_tiny(folder / "tested", max_position_embeddings=4096)
    return {"model": str(tested), "judge": f"beavertails:classifier/{judge}"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Answers generated, exchanges judged, and exchanges judged while the tested model's weights were in memory."""
    counts: Counter[str] = Counter()
    submit, judge = Worker.submit, ClassifierAPI._probabilities
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    start = TransformersEngine.__init__

    def started(self: TransformersEngine, *args: Any, **more: Any) -> None:
        start(self, *args, **more)
        alive.add(self.model)

    def submitted(self: Worker, *args: Any) -> Any:
        counts["generated"] += 1
        return submit(self, *args)

    def judged(self: ClassifierAPI, ids: list[int]) -> list[float]:
        if not counts["judged"]:
            gc.collect()
        counts["judged"] += 1
        counts["beside the tested model"] += len(alive)
        if counts["judged"] == counts["fails at"]:
            raise RuntimeError("out of memory")
        return judge(self, ids)

    monkeypatch.setattr(TransformersEngine, "__init__", started)
    monkeypatch.setattr(Worker, "submit", submitted)
    monkeypatch.setattr(ClassifierAPI, "_probabilities", judged)
    spec.release()
    yield counts
    spec.release()


def run(models: dict[str, Any], out: Path, **settings: Any) -> RunRecord:
    config = RunConfig(
        **models, task=TASKS, limit=LIMIT, max_tokens=8, dtype="float32", out=out, display="none", **settings
    )  # fmt: skip
    return execute(plan(config), ["copsd-bench"])


def numbers(record: RunRecord) -> list[TaskRecord]:
    return [task.model_copy(update={"seconds": 0.0}) for task in record.tasks]


def test_a_judge_with_other_weights_makes_another_run(
    data_dir: Path, tmp_path: Path, models: dict[str, Any], counted: Counter[str]
) -> None:
    judge = shutil.copytree(models["judge"].partition("/")[2], tmp_path / "judge")
    mine = {**models, "judge": f"beavertails:classifier/{judge}"}
    first = run(mine, tmp_path / "out")
    shutil.rmtree(judge)
    save_tiny_classifier(judge, ("harm", "lies"), max_position_embeddings=2048, initializer_range=0.2)
    second = run(mine, tmp_path / "out")
    assert first.run_id != second.run_id
    assert counted["judged"] == 2 * LIMIT
    names = [record.tasks[0].judges for record in (first, second)]
    assert names[0] != names[1]
    # By name and content, without the folders of this machine.
    assert all(any(name.startswith(f"classifier/{judge.name}@") for name in judges.values()) for judges in names)


def test_the_record_is_that_of_one_phase(
    data_dir: Path, tmp_path: Path, models: dict[str, Any], counted: Counter[str]
) -> None:
    at_once = run(models, tmp_path / "one")
    assert counted == {"generated": LIMIT * len(TASKS), "judged": LIMIT, "beside the tested model": LIMIT}
    counted.clear()
    later = run(models, tmp_path / "two", judge_later=True)
    assert counted == {"generated": LIMIT * len(TASKS), "judged": LIMIT, "beside the tested model": 0}
    assert later.run_id == at_once.run_id
    assert numbers(later) == numbers(at_once)
    judged = later.tasks[0]
    assert judged.metrics["unsafe/harmful"].n == LIMIT // 2
    assert judged.judges["unsafe"].startswith("classifier/")


def test_a_stopped_second_phase_continues(
    data_dir: Path, tmp_path: Path, models: dict[str, Any], counted: Counter[str]
) -> None:
    counted["fails at"] = 3
    with pytest.raises(CopsdError, match=r"1 failed .*out of memory.*tries the failed ones again"):
        run(models, tmp_path, judge_later=True)
    generated = counted["generated"]
    counted["judged"] = counted["fails at"] = 0
    record = run(models, tmp_path, judge_later=True)
    assert counted["generated"] == generated == LIMIT * len(TASKS)
    assert counted["judged"] == 1
    assert record.tasks[0].metrics["unsafe/harmful"].n_unscored == 0


def test_it_needs_a_model_that_judges(models: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(CopsdError, match="--judge-later is for a model that judges"):
        run({"model": models["model"]}, tmp_path, judge_later=True)
