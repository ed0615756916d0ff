"""Answer checks: each has answers it must accept and answers it must not."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from copsd_bench.benchmarks.checks import Check, check, choice, final_number, number, numbers
from copsd_bench.benchmarks.instruction_rules import RULES

CHECK: TypeAdapter[Check] = TypeAdapter(Check)


@pytest.mark.parametrize(
    "answer",
    [
        "42",
        "42.",
        "42.0",
        "**42**",
        "The answer is 42.",
        "It costs $42.00!",
        "84/2",
        "3 + 39 = 42",
        "First 12, then 30, so 42 apples",
        "\\boxed{42}",
        "x=42",
        "42%",
        "about 42 cm²",
        "42 cm^2",
        "42 cm^{2}",
        "1) add 40\n2) add 2\nTotal: 42",
        "The range 10-42",
        "7 x 6 = 42\n\nThis is a fact about 7 and 6.",
        "42\n(that is 6 times 7)",
        "The answer is 42, in 3 steps.",
        "**Answer:** 6 x 7 = 42 (6 rows of 7)",
        "6 x 6 = 36\n36 + 6 = 42",
        "#### 42\nChecked 2 times.",
        "(20)-42",
    ],
)
def test_number_accepts_what_the_answer_settles_on(answer: str) -> None:
    assert number(answer, 42)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "forty-two",
        "42 or maybe 43",
        "-42",
        "4.2",
        "142",
        "4 2",
        "The answer is 7. I had 42.",
        "42 = 6\n7",
        "42.5",
        "B42",
        "42/5",
    ],
)
def test_number_rejects_others(answer: str) -> None:
    assert not number(answer, 42)


def test_number_reads_thousands_and_signs_exactly() -> None:
    assert numbers("1,234,567.5 and 2") == [Fraction(2469135, 2), 2]
    assert final_number("1{,}000 units") == 1000
    assert final_number("one of 3,4") == 4
    assert final_number("it is −5") == -5
    assert final_number("-$5") == -5
    assert final_number("1/3") == Fraction(1, 3)
    assert number("0.1", 0.1)
    assert number("-7", -7)
    assert not number("7", -7)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "So it is {}.", "12 - 5 = {}", "**{}**", "${}$", "= {:,}"]))
def test_number_finds_any_integer(value: int, form: str) -> None:
    assert final_number(form.format(value)) == value


YES = (["yes"], ["no"])
NAMES = (["Ann"], ["Ben", "Cara"])
LETTER = (["B"], ["A", "C", "I"])


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        ("Yes", YES),
        ("yes.", YES),
        ("**Yes**, because no cup is dirty.", YES),
        ("Yes because there is no other way", YES),
        ("Yes, so no cup is dirty.", YES),
        ("Is Zik green? Yes, he is.", YES),
        ("There are no dirty cups. The answer is yes.", YES),
        ("The answer isn't no; it is yes.", YES),
        ("At first I thought no. Therefore yes.", YES),
        ("Answer:\nYes", YES),
        ("No one can doubt it: yes", YES),
        ("Ann", NAMES),
        ("ann!", NAMES),
        ("Ann is the tallest because she beats Ben.", NAMES),
        ("Since Ben is taller than Cara, Ann is the tallest.", NAMES),
        ("Ben is taller than Cara. Ann is taller than Ben. So the tallest is Ann.", NAMES),
        ("Cara is smaller than Ben, so Ann must be it", NAMES),
        ("The tallest is not Ben but Ann.", NAMES),
        ("The tallest of Ben, Cara and Ann is Ann.", NAMES),
        ("Tallest: Ann, taller than Cara.", NAMES),
        ("The final answer is \\boxed{Ann}", NAMES),
        ("B", LETTER),
        ("b", LETTER),
        ("(B)", LETTER),
        ("B) because it fits", LETTER),
        ("I think it is B.", LETTER),
        ("A good guess would be B.", LETTER),
    ],
)
def test_choice_accepts_an_answer_that_settles_on_the_right_option(
    answer: str, options: tuple[list[str], list[str]]
) -> None:
    assert choice(answer, *options)


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        ("", YES),
        ("No", YES),
        ("No, yes would be wrong.", YES),
        ("Yes or no.", YES),
        ("yes/no", YES),
        ("Yesterday", YES),
        ("Is it yes?", YES),
        ("I cannot tell.", YES),
        ("The answer is no, although many say yes.", YES),
        ("Yes, at first sight. The correct answer is no.", YES),
        ("Ben", NAMES),
        ("Ben is taller than Ann.", NAMES),
        ("It is Ben, not Ann.", NAMES),
        ("Ben or Ann", NAMES),
        ("Ann and Ben", NAMES),
        ("The tallest is Ann or Ben.", NAMES),
        ("Of Ann and Cara the taller is Cara.", NAMES),
        ("Anna", NAMES),
        ("Who is the tallest, Ann or Ben?", NAMES),
        ("It is Cara because Ann is small", NAMES),
        ("C", LETTER),
        ("A", LETTER),
        ("A, B, C", LETTER),
        ("a b in small letters is no choice", LETTER),
    ],
)
def test_choice_is_not_fooled_by_a_mention(answer: str, options: tuple[list[str], list[str]]) -> None:
    assert not choice(answer, *options)


def test_choice_prefers_the_longest_option() -> None:
    assert choice("It is dark blue.", ["dark blue"], ["blue"])
    assert not choice("It is dark blue.", ["blue"], ["dark blue"])


RULE_CASES: dict[str, list[tuple[dict[str, object], str, str]]] = {
    "max_words": [({"n": 3}, "one well-known word", "one two three four")],
    "min_words": [({"n": 3}, "one - two three", "one - two")],
    "words": [({"n": 2}, "Hello, world!", "Hello"), ({"n": 3}, "sea—blue and", "sea-blue and")],
    "lines": [({"n": 2}, "a\n\nb", "a"), ({"n": 1}, "a", "a\nb")],
    "bullets": [({"n": 2}, "Here:\n- a\n* b", "- a\n-b"), ({"n": 1}, "• a", "a - b")],
    "numbered": [({"n": 2}, "1. a\n2) b", "1. a\n3. b"), ({"n": 2}, "**1.** a\n**2.** b", "1. a\n2. b\n3. c")],
    "sentences": [
        ({"n": 2}, 'He said "Go." Dr. Lee paid 3.50 e.g. in coins', "One. Two. Three."),
        ({"n": 1}, "Really?!", "Yes. No"),
    ],
    "paragraphs": [({"n": 2}, "a\nb\n \nc", "a\nb")],
    "contains": [({"words": ["river", "old town"]}, "An Old Town by a RIVER.", "old town, two rivers")],
    "not_contains": [({"words": ["egg"]}, "An eggplant.", "An Egg.")],
    "repeats": [({"word": "river", "n": 2}, "River, river", "river rivers")],
    "lowercase_only": [({}, "all small, 1 too.", "Not small"), ({}, "a", "1")],
    "uppercase_only": [({}, "ALL BIG, 1.", "NOT BiG"), ({}, "A", "1")],
    "no_commas": [({}, "a b; c", "a, b"), ({}, "a", "a、b")],
    "no_digits": [({}, "nineteen", "19")],
    "starts_with": [({"text": "Dear Captain"}, "**Dear captain**, hi", "Oh, Dear Captain")],
    "ends_with": [({"text": "that is all."}, "So *that is all.*", "that is all. Bye")],
    "each_line_starts_with": [({"text": ">>"}, ">> a\n\n>>b", ">> a\nb")],
    "quoted": [({}, '"Hello there."', 'He said "Hello."'), ({}, "“Hi”", '"Hi" and "ho"'), ({}, '"a"', '""')],
    "valid_json": [
        ({}, "[1]", "[1"),
        ({"keys": ["a", "b"]}, '```json\n{"b": 1, "a": 2}\n```', '{"a": 1}'),
        ({"keys": ["a"]}, '{"a": {}}', 'Here: {"a": 1}'),
        ({"length": 2}, '["x", "y"]', '["x", 2]'),
        ({"length": 1}, '["x"]', '{"x": 1}'),
    ],
}


def test_every_rule_has_cases() -> None:
    assert set(RULE_CASES) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "parameters", "good", "bad"), [(rule, *case) for rule, cases in RULE_CASES.items() for case in cases]
)
def test_rule(rule: str, parameters: dict[str, object], good: str, bad: str) -> None:
    item_check = CHECK.validate_python({"kind": "instruction", "rules": [{"rule": rule, **parameters}]})
    assert check(item_check, good)
    assert not check(item_check, bad)
    assert not check(item_check, " \n")


def test_all_rules_of_an_item_must_hold() -> None:
    rules = [{"rule": "max_words", "n": 3}, {"rule": "contains", "words": ["salt"]}]
    item_check = CHECK.validate_python({"kind": "instruction", "rules": rules})
    assert check(item_check, "salt and water")
    assert not check(item_check, "only water")
    assert not check(item_check, "salt and water and more")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "instruction", "rules": [{"rule": "max_word", "n": 3}]}, "did you mean 'max_words'"),
        ({"kind": "instruction", "rules": [{"rule": "max_words"}]}, "wrong at n"),
        ({"kind": "instruction", "rules": [{"rule": "max_words", "n": 0}]}, "wrong at n"),
        ({"kind": "instruction", "rules": [{"rule": "max_words", "n": "3"}]}, "wrong at n"),
        ({"kind": "instruction", "rules": [{"rule": "no_commas", "n": 3}]}, "wrong at n"),
        ({"kind": "instruction", "rules": [{"rule": "contains", "words": []}]}, "wrong at words"),
        ({"kind": "instruction", "rules": []}, "rules"),
        ({"kind": "choice", "answer": "yes", "others": []}, "others"),
        ({"kind": "choice", "answer": "yes", "others": ["Yes"]}, "twice"),
        ({"kind": "number", "answer": "42"}, "answer"),
        ({"kind": "numbers", "answer": 42}, "numbers"),
    ],
)
def test_a_wrong_check_is_refused_when_it_is_read(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CHECK.validate_python(spec)
