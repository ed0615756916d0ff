"""Two runs can be paired on the primary metric of every task, or it is known why not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.benchmarks.task import KEY, TaskSpec
from copsd_bench.sources.pins import pins
from copsd_bench.suites import make_task
from copsd_bench.task_table import TASKS, TaskInfo
from tests.benchmarks.pictures import write_sets
from tests.benchmarks.test_published_schemas import SCHEMAS, publish
from tests.benchmarks.vision_runs import use

RELATES = "its record holds the reference's answers, and the number relates the two"
NOT_PAIRED = {
    **{name: RELATES for name, info in TASKS.items() if info.reference},
    "llava_wilder": "a ratio of sums over the items",
}


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    write_sets(folder)
    return folder


@pytest.fixture(autouse=True)
def own_pins() -> Iterator[None]:
    yield
    pins.cache_clear()


def ways(info: TaskInfo) -> Iterator[dict[str, Any]]:
    """Arguments in which the primary metric may differ."""
    for profile in ({"profile": "copsd"}, {"profile": "official"}) if info.images else ({},):
        if info.reference:
            yield {"reference": "self", **({"judge": "grader"} if info.judges else {})}
            continue
        yield dict(profile)
        if "grader" in info.judges:
            yield {**profile, "judge": "grader", **({"reference": "m/x"} if "reference" in info.options else {})}


@pytest.mark.parametrize("name", TASKS)
def test_the_primary_metric_is_the_mean_of_a_score_of_that_name(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    info = TASKS[name]
    if info.images:
        mirror = request.getfixturevalue("vision")
        use(mirror, mirror / "cache", monkeypatch)
    elif name in SCHEMAS:
        publish(name, tmp_path, monkeypatch)
    elif info.pin:
        request.getfixturevalue("data_dir")
    for arguments in ways(info):
        spec = TaskSpec.model_validate((make_task(name, **arguments).metadata or {})[KEY])
        if spec.summary:
            assert NOT_PAIRED[name] == RELATES
            continue
        [primary] = [metric for metric in spec.metrics if metric.name == spec.primary]
        paired = primary.name.partition("/")[0] == primary.score and primary.weight is None
        assert paired != (name in NOT_PAIRED), (name, arguments, primary)
