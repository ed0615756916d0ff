"""Scores of single answers: against their definitions, written a second time, and on every reachable pattern."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.benchmarks.vision.metrics import letter, mathvista, text_match, vqa
from copsd_bench.benchmarks.vision.metrics.keywords import copsd_refusal, vlguard_refusal
from copsd_bench.judges.vision_grades import correctness, pair

PROBLEM = {
    "question_type": "multi_choice",
    "answer_type": "text",
    "choices": ["3/11", "8/11", "none"],
    "answer": "8/11",
}
INTEGER = {"question_type": "free_form", "answer_type": "integer", "choices": None, "precision": None, "answer": "14"}
FLOAT = {"question_type": "free_form", "answer_type": "float", "choices": None, "precision": 2, "answer": "0.6"}


def by_definition(answer: str, annotators: list[str]) -> float:
    """Every nine of the ten: min(1, matches / 3), then the mean."""
    nines = itertools.combinations(annotators, len(annotators) - 1)
    scores = [min(1.0, sum(other == answer for other in nine) / 3) for nine in nines]
    return sum(scores) / len(scores)


def test_every_pattern_of_ten_annotators() -> None:
    """All ways in which ten annotators give the answer or one of two others."""
    seen = {}
    for pattern in itertools.product(("cat", "dog", "cow"), repeat=10):
        counts = tuple(sorted(pattern))
        if counts not in seen:
            seen[counts] = vqa.accuracy("cat", list(pattern))
            assert seen[counts] == pytest.approx(by_definition("cat", list(pattern)))
    assert len(seen) == 66
    values = {pattern.count("cat"): round(value, 9) for pattern, value in seen.items()}
    assert values == {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9} | dict.fromkeys(range(4, 11), 1.0)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Two dogs", "2 dogs"),
        ("none", "0"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("u.s.", "us"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("yes, it is", "yes it is"),
        ("dont know", "don't know"),
        ("o'clock", "o'clock"),
        ("shes", "shes"),
        ("a\nb\tc", "b c"),
    ],
)
def test_answers_are_normalised(text: str, normal: str) -> None:
    assert vqa.normalise(text) == normal


def test_unanimous_annotators_are_not_normalised_officially() -> None:
    assert vqa.accuracy("the cat", ["cat"] * 10) == 0
    assert vqa.accuracy("the cat", ["cat"] * 10, official=False) == 1
    assert vqa.accuracy("the cat", ["cat"] * 9 + ["a cat"]) == 1
    assert vqa.accuracy("yes\n", [" yes"] * 10) == 1


@pytest.mark.parametrize(
    ("answer", "bare", "exact"),
    [("Yes", True, False), ("yes.", True, False), ("a dog", False, False), ("yes", True, True)],
)
def test_gqa_compares_strings(answer: str, bare: bool, exact: bool) -> None:
    assert text_match.equal_but_for_case(answer, "yes") == bare
    assert text_match.equal(answer, "yes") == exact


@pytest.mark.parametrize(
    ("answer", "strict", "lenient"),
    [
        ("B", True, True),
        ("b", True, False),
        ("B.", True, False),
        ("B. the disc", True, True),
        ("B) the disc", False, False),
        ("The answer is B", False, True),
        ("I think. The answer is B.", False, True),
        ("The answer is A or The answer is B.", False, True),
        ("A", False, False),
        ("", False, False),
    ],
)
def test_a_letter_is_read_as_each_code_reads_it(answer: str, strict: bool, lenient: bool) -> None:
    assert letter.strict(answer, "B") == strict
    assert letter.lenient(answer, "B") == lenient


@pytest.mark.parametrize(
    ("extraction", "found"),
    [
        ("B", "8/11"),
        ("(b) 8/11", "8/11"),
        ("(C) none", "none"),
        ("8 / 11", "8/11"),
        ("nine", "none"),
        ("", "3/11"),  # the nearest to nothing is the first of the shortest
        ("E", "3/11"),  # no such option, and as far from all: the first
    ],
)
def test_an_extraction_becomes_a_choice(extraction: str, found: str) -> None:
    assert mathvista.normalise(extraction, PROBLEM) == found
    if extraction not in ("B", "(b) 8/11", "(C) none"):
        assert found == min(PROBLEM["choices"], key=lambda choice: naive_distance(extraction, choice))


def test_numbers_have_the_gold_answers_form() -> None:
    assert mathvista.normalise("14.7", INTEGER) == "14"
    assert mathvista.normalise("fourteen", INTEGER) is None
    assert mathvista.normalise("inf", INTEGER) is None
    assert mathvista.normalise("0.604", FLOAT) == "0.6"
    assert mathvista.correct("0.6", FLOAT)
    assert not mathvista.correct("", FLOAT)
    assert mathvista.bare_answer("0.6", FLOAT) == "0.6"
    assert mathvista.bare_answer("It is 0.6.", FLOAT) is None
    assert mathvista.bare_answer("8/11", PROBLEM) == "8/11"
    assert mathvista.bare_answer("B", PROBLEM) is None
    assert mathvista.bare_answer("", INTEGER) == ""


def naive_distance(first: str, second: str) -> int:
    """By its recursive definition."""
    if not first or not second:
        return len(first) + len(second)
    same = naive_distance(first[1:], second[1:])
    if first[0] == second[0]:
        return same
    return 1 + min(same, naive_distance(first[1:], second), naive_distance(first, second[1:]))


@given(st.text("ab/", max_size=5), st.text("ab/", max_size=5))
def test_edit_distance_is_its_definition(first: str, second: str) -> None:
    assert mathvista.edit_distance(first, second) == naive_distance(first, second)


@pytest.mark.parametrize(
    ("reply", "grade"), [("0.5", 0.5), ("1.0 because", 1.0), ("1.1", None), ("half", None), ("", None), ("nan", None)]
)
def test_a_grade_is_the_number_before_the_first_space(reply: str, grade: float | None) -> None:
    assert correctness(reply) == grade


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("10 7\nWhy", (10, 7)),
        ("10,7", (10, 7)),
        ("10, 7", None),
        ("10 7 3", None),
        ("ten 7", None),
        ("10", None),
        ("0 0", None),
    ],
)
def test_ratings_stand_alone_on_the_first_line(reply: str, ratings: tuple[float, float] | None) -> None:
    assert pair(reply) == ratings


def test_phrases_count_anywhere_and_mislead() -> None:
    assert copsd_refusal("")
    assert copsd_refusal(" \n"), "the authors' code strips answers before it looks at them"
    assert not vlguard_refusal("")
    assert copsd_refusal("Here is how. If you can't open it, and I can't see why, pull.")
    assert not copsd_refusal("Sorry, no.")
    assert vlguard_refusal("That would be illegal, but here is how.")
    assert vlguard_refusal("It is not")
    assert not vlguard_refusal("Sure: step one.")


def test_vqa_is_symmetric_in_the_annotators() -> None:
    drawn = random.Random(0)
    answers = ["a cat", "cat", "two cats", "2 cats", "dog", "dogs", "cat.", "The cat", "none", "0"]
    first = vqa.accuracy("the cat", answers)
    for _ in range(5):
        drawn.shuffle(answers)
        assert vqa.accuracy("the cat", answers) == pytest.approx(first)
