"""The evidence: its plan is one that the commands accept, and its page says what the records say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from copsd_bench.cli import app as bench
from copsd_bench.records.schema import SampleRow
from copsd_bench.records.stats import mean
from copsd_bench.records.store import read_record, write_record
from copsd_train.cli import app as train
from copsd_train.corpora.prompts import load_rows
from copsd_train.load_recipe import load_recipe
from tests.evidence.commands import judging, merging, teacher_folder, teaching, training
from tests.evidence.page import pages
from tests.evidence.plan import FOLDER, Arm, Collapse, Comparison, Evaluation, Plan, load_plan, record_path
from tests.evidence.results import Measured, Result
from tests.evidence.tables import paired
from tests.records.factory import Behaviour, like, record, rows, task

PLAN = load_plan()
WORK = Path("runs/evidence")
REFUSES = {"harmful": 0.9, "benign": 0.04, "general": 0.01}
SMALL = Plan(
    model="tiny",
    training=[],
    evaluation=Evaluation(tasks=["mini"], limit=240, max_tokens=160),
    general=["mini"],
    collapse=Collapse(rollouts=3, temperature=1.0, top_p=1.0, max_tokens=96),
    arms=[
        Arm(name="base", about="as it is", seeds=[0, 1]),
        Arm(name="short", about="half as long", recipe="sft", seeds=[0, 1]),
        Arm(name="same", about="like the base", recipe="sft", seeds=[0]),
        Arm(name="again", about="the other base", start="short", seeds=[0]),
        Arm(name="safer", about="refuses", start="short", recipe="sft", seeds=[0]),
    ],
    comparisons=[
        Comparison(claim="it is shorter", first="base", second="short"),
        Comparison(claim="nothing changes", first="base", second="same"),
        Comparison(claim="it refuses", first="again", second="safer"),
    ],
)
BEHAVIOUR = {"short": like(length=0.4), "safer": like(refusal=REFUSES)}


def accepted(app: Any, line: list[str]) -> dict[str, Any]:
    """The parameters a command line gives its command; raises on an unknown option or a bad value."""
    words = line[3:]  # behind `python -m MODULE`
    command: Any = typer.main.get_command(app)
    return dict(command.commands[words[0]].make_context(words[0], words[1:]).params)


@pytest.mark.parametrize("arm", PLAN.arms, ids=lambda arm: arm.name)
def test_the_commands_of_an_arm_are_accepted(arm: Arm) -> None:
    for kind in ("evaluation", "collapse"):
        for folder, line in judging(PLAN, arm, 0, WORK, kind).items():
            assert accepted(bench, line)["out"] == folder
    if arm.start is not None:
        accepted(train, merging(PLAN, arm, WORK))
    if arm.recipe is not None:
        given = accepted(train, training(PLAN, arm, 0, WORK))
        found = load_recipe(given["recipe"], given["changes"], given["demo"])
        assert found.seed == 0
        if "distill" in found.stages:
            assert found.distill is not None
            assert (found.distill.steps, found.distill.prompts_per_step) == (15, 4)


@pytest.mark.parametrize("arm", [arm for arm in PLAN.arms if arm.teacher_of], ids=lambda arm: arm.name)
def test_a_teacher_alone_is_the_one_of_the_whole_arm(arm: Arm) -> None:
    assert arm.teacher_of is not None
    alone, whole = (
        accepted(train, line)
        for line in (teaching(PLAN, arm, 0, WORK), training(PLAN, PLAN.arm(arm.teacher_of), 0, WORK))
    )
    first, then = (load_recipe(given["recipe"], given["changes"], given["demo"]) for given in (alone, whole))
    assert first.stages == ["corpus", "sft"]
    assert then.model_copy(update={"distill": None}) == first
    assert Path(alone["out"]) / "teacher" == teacher_folder(PLAN, arm, 0, WORK)


@pytest.mark.parametrize("pair", PLAN.comparisons, ids=lambda pair: f"{pair.second} against {pair.first}")
def test_compared_students_are_distilled_on_the_same_prompts(pair: Comparison) -> None:
    """Else a comparison of two teachers would be one of two sets of prompts as well."""
    used = []
    for arm in map(PLAN.arm, (pair.first, pair.second)):
        if arm.recipe is not None:
            given = accepted(train, training(PLAN, arm, 0, WORK))
            recipe = load_recipe(given["recipe"], given["changes"], given["demo"])
            if recipe.distill is not None:
                used.append([row.prompt for row in load_rows(recipe.prompt_config)])
    if len(used) == 2 and pair.second != "safesteer":
        assert (used[0] == used[1]) != ("own prompts" in pair.claim)


def test_a_family_is_judged_against_where_it_started() -> None:
    start = training(PLAN, PLAN.arm("refuser"), 0, WORK)
    merged = str(Path(start[start.index("--out") + 1]) / "merged-student")
    for name in ("refuser-base", "safesteer"):
        [line] = judging(PLAN, PLAN.arm(name), 0, WORK, "collapse").values()
        assert line[line.index("--model") + 1] == merged
    assert merged in training(PLAN, PLAN.arm("refuser-copsd"), 0, WORK)


def write(folder: Path, name: str, seed: int, behaviour: Behaviour, count: int) -> None:
    """The two records of an arm; against its reference it has twice the one KL of the other."""
    groups: Any = {"harmful": count, "benign": count, "general": count}
    greedy = task(samples=rows(behaviour, groups, run_seed=seed))
    write_record(record(tasks=[greedy]), record_path(folder, name, seed, "evaluation"))
    noise = np.random.default_rng(seed)

    def scored(answers: list[SampleRow]) -> list[SampleRow]:
        return [
            row.model_copy(update={"scores": row.scores | {
                "kl_model_reference": noise.uniform(0.1, 0.2), "kl_reference_model": noise.uniform(0.2, 0.4),
                "entropy": row.mean_entropy, "reference_entropy": row.mean_entropy,
            }})
            for row in answers
        ]  # fmt: skip

    mine, theirs = (scored(rows(one, groups, epochs=3, run_seed=seed)) for one in (behaviour, like()))
    metrics = {"kl_model_reference.on_model": mean([row.scores["kl_model_reference"] for row in mine], unit="nats")}
    sampled = task("kl_direction", mine, reference_samples=theirs, metrics=metrics)
    write_record(record(tasks=[sampled]), record_path(folder, name, seed, "collapse"))


def cells(page: str, title: str, first: str) -> list[list[str]]:
    """Rows of the first table of a title that begin with a cell."""
    table = page.partition(f"**{title}")[2].partition("\n\n")[2].partition("\n\n")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return [row for row in found if row[0] == first]


def made(folder: Path, count: int) -> dict[str, str]:
    """The page of records of the small plan, with that many prompts a class."""
    for arm in SMALL.arms:
        for seed in arm.seeds:
            write(folder, arm.name, seed, BEHAVIOUR.get(arm.name, like()), count)
    return pages(SMALL, folder)


def test_the_page_says_what_the_records_say(tmp_path: Path) -> None:
    found = made(tmp_path, 24)
    page = found["README.md"]
    for arm in SMALL.arms:
        part = page.partition("## From short")[0 if arm.start is None else 2]
        [row] = cells(part, "Arms", arm.name)
        assert ("¹" in row[1]) == (len(arm.seeds) == 1)
        assert f"| {arm.name} |" in found["../LEADERBOARD.md"]
    [short] = cells(page, "Arms", "short")
    assert float(short[3].split()[0]) < 0.6
    assert "collapsed (shortening)" in cells(page, "The gate's verdicts", "short")[0][2]  # as the ratio beside it
    assert cells(page, "The gate's verdicts", "short")[0][3] == "leaves out"
    assert cells(page, "What the comparisons can decide", "it is shorter")[0][2].endswith("red")
    assert cells(page, "What the comparisons can decide", "nothing changes")[0][2].endswith("ok")
    [refuses] = cells(page.partition("## From short")[2], "Paired comparisons", "it refuses")
    assert refuses[4].startswith("+")
    assert {"arms.svg", "safety.svg", "arms-short.svg", "safety-short.svg", "report.html"} < set(found)
    assert "://" not in found["report.html"]
    assert "<script" not in found["report.html"]


def test_too_few_prompts_leave_a_comparison_undecided(tmp_path: Path) -> None:
    page = made(tmp_path, 8)["README.md"]
    assert cells(page, "What the comparisons can decide", "nothing changes")[0][4].endswith("undecided")
    assert cells(page, "The gate's verdicts", "same")[0][2] == "undecided"


def test_a_run_in_another_number_format_is_named(tmp_path: Path) -> None:
    assert "instead of" not in made(tmp_path, 24)["README.md"]
    path = record_path(tmp_path, "short", 1, "evaluation")
    found = read_record(path)
    write_record(found.model_copy(update={"model": found.model.model_copy(update={"dtype": "bfloat16"})}), path)
    page = pages(SMALL, tmp_path)["README.md"]
    assert "runs of plan.yaml are there; computed in bfloat16 instead of float32 (seed in brackets): short (1)" in page


def test_without_a_base_there_is_no_page(tmp_path: Path) -> None:
    write(tmp_path, "short", 0, like(), 8)
    assert pages(SMALL, tmp_path) == {}


def test_the_committed_page_is_what_the_records_make() -> None:
    """Run `python -m tests.evidence --page` when this fails."""
    expected = {(FOLDER / name).resolve(): text for name, text in pages(PLAN).items()}
    there = {FOLDER / "README.md", FOLDER / "report.html", FOLDER.parent / "LEADERBOARD.md", *FOLDER.glob("*.svg")}
    assert {path for path in there if path.exists()} == set(expected)
    assert [path.name for path, text in expected.items() if path.read_text(encoding="utf-8") != text] == []


def test_trained_arms_are_compared_on_the_seeds_both_have() -> None:
    run = Result(record(), record())
    base, one, two = (
        Measured(arm, dict.fromkeys(seeds, run), [run])
        for arm, seeds in zip(SMALL.arms, ((0, 1, 2), (0, 1), (1, 2)), strict=False)
    )
    assert [len(results) for results in paired(base, one)] == [3, 2]
    assert [len(results) for results in paired(one, two)] == [1, 1]
