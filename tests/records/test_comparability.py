"""Records compare only when everything that changes the question agrees; what differs is named."""

from typing import Any

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.records.comparability import differences, warnings
from copsd_bench.records.compare import compare
from copsd_bench.records.schema import ConstitutionInfo, RunRecord
from tests.records.factory import GENERATION, record, rows, with_task

BASE = record()
DATASET = BASE.tasks[0].dataset


def _task(**changes: Any) -> RunRecord:
    return with_task(BASE, **changes)


def _dataset(**changes: Any) -> RunRecord:
    return _task(dataset=DATASET.model_copy(update=changes))


def _run(**changes: Any) -> RunRecord:
    return BASE.model_copy(update=changes)


def _model(**changes: Any) -> RunRecord:
    return _run(model=BASE.model.model_copy(update=changes))


DIFFERENT = {
    "version": _task(version="2"),
    "dataset.name": _dataset(name="other"),
    "dataset.sha256": _dataset(sha256="f" * 64),
    "generation.max_tokens": _task(generation=GENERATION | {"max_tokens": 256}),
    "generation.temperature": _task(generation=GENERATION | {"temperature": 1.0}),
    "generation.top_k": _task(generation=GENERATION | {"top_k": 40}),
    "judges.refusal": _task(judges={"refusal": "rules-2"}),
    "judges.rubric": _task(judges={"refusal": "rules-1", "rubric": "model-x"}),
    "constitution.mode": _run(constitution=ConstitutionInfo(mode="default")),
    "constitution.digest": _run(constitution=ConstitutionInfo(digest="e" * 64)),
    "constitution.placement": _run(constitution=ConstitutionInfo(placement="system")),
    "template": _model(template_digest="0" * 64),
    "epochs": _run(epochs=2),
    "samples": _task(samples=BASE.tasks[0].samples[:-3]),
}


@pytest.mark.parametrize("field", DIFFERENT)
def test_a_difference_in_any_field_refuses_and_is_named(field: str) -> None:
    other = DIFFERENT[field]
    for first, second in ((BASE, other), (other, BASE)):
        assert [line.split()[1] for line in differences(first, second)] == [field]
        with pytest.raises(CopsdError, match=rf"mini: {field}.*--vary"):
            compare(first, second)


@pytest.mark.parametrize("field", DIFFERENT)
def test_a_declared_difference_is_allowed_and_reported(field: str) -> None:
    assert list(compare(BASE, DIFFERENT[field], vary=[field]).varied) == [field]
    with pytest.raises(CopsdError):
        compare(BASE, DIFFERENT[field], vary=["version" if field != "version" else "epochs"])


def test_a_revision_tells_data_apart_only_where_their_content_is_not_known() -> None:
    assert not differences(BASE, _dataset(revision="r2"))
    first, second = (_dataset(sha256="", revision=revision) for revision in ("r1", "r2"))
    (line,) = differences(first, second)
    assert "dataset.revision is r1 / r2" in line
    assert not differences(first, second, ["dataset.revision"])


def test_short_and_collective_names_can_be_varied() -> None:
    hot = DIFFERENT["generation.temperature"]
    for name in ("temperature", "generation", "generation.temperature"):
        assert not differences(BASE, hot, [name])
    assert not differences(BASE, DIFFERENT["constitution.mode"], ["constitution"])


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("constituton", "did you mean 'constitution'"), ("weights", "may always differ"), ("dtype", "warning only")],
)
def test_a_wrong_field_to_vary_says_what_is_right(name: str, sentence: str) -> None:
    with pytest.raises(CopsdError, match=sentence):
        differences(BASE, BASE, [name])


def test_weights_may_differ_and_rounding_is_a_warning() -> None:
    tuned = _model(weights_digest="9" * 64, adapter="lora", adapter_digest="8" * 64, dtype="bfloat16", device="cuda")
    assert not differences(BASE, tuned)
    assert [line.split()[0] for line in warnings(BASE, tuned)] == ["dtype", "device"]


def test_another_seed_is_another_draw_of_the_same_experiment() -> None:
    first, second = (_task(generation=GENERATION | {"temperature": 1.0, "seed": seed}) for seed in (0, 1))
    assert not differences(first, second)


def test_no_common_task_or_item_is_refused() -> None:
    with pytest.raises(CopsdError, match="share no task"):
        compare(BASE, _task(name="other"))
    with pytest.raises(CopsdError, match="share no item"):
        compare(BASE, _task(samples=rows(prefix="elsewhere:")), vary=["samples"])


def test_runs_on_other_images_do_not_compare() -> None:
    """Of the items both have; a further item with an image of its own is a matter of `samples`."""

    def shown(digests: dict[str, str]) -> RunRecord:
        samples = BASE.tasks[0].samples
        return _task(
            samples=[row.model_copy(update={"tags": {"image_sha256": digests.get(row.id, "0")}}) for row in samples]
        )

    same, first = shown({}), BASE.tasks[0].samples[0].id
    assert differences(same, shown({})) == []
    assert differences(same, BASE) == []
    (line,) = differences(same, shown({first: "1"}))
    assert "images differ (1 only in the first, 1 only in the second" in line
    assert differences(same, shown({first: "1"}), ["images"]) == []
