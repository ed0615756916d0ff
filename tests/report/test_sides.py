"""Who stands on a page: each model once, with a name that says what sets it apart."""

from copsd_bench.records.schema import ConstitutionInfo, ReferenceInfo
from copsd_bench.report.sides import sides_of
from tests.records.factory import record, rows, task
from tests.report.collapse import COLLAPSED, HEALTHY, MODEL, collapse_record


def test_students_share_their_reference() -> None:
    sides = sides_of([collapse_record(COLLAPSED), collapse_record(HEALTHY)])
    assert [side.label for side in sides] == ["base", "opsd-const", "copsd"]
    assert sides[0].record is None
    assert all(base is sides[0] for side in sides[1:] for base in side.bases.values())


def test_a_reference_is_the_run_of_the_same_model() -> None:
    base = record(model=MODEL)
    sides = sides_of([base, collapse_record(COLLAPSED)])
    assert [side.label for side in sides] == ["base", "opsd-const"]
    assert set(sides[0].answers) > {"mini", "kl_direction"}


def test_a_reference_with_other_answers_stands_apart() -> None:
    other = collapse_record(HEALTHY)
    changed = [row.model_copy(update={"output_tokens": 1}) for row in other.tasks[0].reference_samples]
    tasks = [found.model_copy(update={"reference_samples": changed}) for found in other.tasks]
    sides = sides_of([collapse_record(COLLAPSED), other.model_copy(update={"tasks": tasks})])
    assert len(sides) == 4
    assert len({side.label for side in sides}) == 4


def test_another_seed_of_the_same_model_is_another_side() -> None:
    reference = ReferenceInfo(name="self", model=MODEL, seed=7)
    tasks = [task("length_collapse", reference=reference, reference_samples=rows(run_seed=1))]
    sides = sides_of([record(model=MODEL, tasks=tasks)])
    assert [side.label for side in sides] == ["same model, seed 7", "base"]


def test_runs_without_reference_are_set_against_the_first() -> None:
    told = record(constitution=ConstitutionInfo(mode="default", placement="user", digest="e" * 64), run_seed=1)
    base, other = sides_of([record(), told])
    assert (base.label, other.label) == ("base", "constitution default")
    assert base.bases == {}
    assert other.bases == {"mini": base}
