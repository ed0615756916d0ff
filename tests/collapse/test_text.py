"""Text statistics: n-grams, repetition, and loops as small models make them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copsd_bench.collapse.text import distinct_n, empty, loops, repetition, words


def test_words_keep_inner_apostrophes_and_split_scripts_without_spaces() -> None:
    assert words("Don’t STOP: it's 3 o'clock.") == ["don't", "stop", "it's", "3", "o'clock"]
    assert words("猫が好き ok") == ["猫", "が", "好", "き", "ok"]


def test_distinct_n_counts_by_hand() -> None:
    assert distinct_n("a b a b", 1) == 0.5
    assert distinct_n("a b a b", 2) == pytest.approx(2 / 3)
    assert distinct_n("one", 2) is None
    assert distinct_n("", 1) is None


def test_repetition_is_the_share_of_four_grams_seen_before() -> None:
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("the quick brown fox jumps over the lazy dog") == 0
    assert repetition("too short") is None


@given(st.text(max_size=300), st.integers(1, 4))
def test_statistics_of_any_text_are_defined_and_bounded(text: str, n: int) -> None:
    value = distinct_n(text, n)
    assert (value is None) == (len(words(text)) < n)
    assert value is None or 0 < value <= 1
    assert not (words(text) and empty(text))
    assert loops(text) in (True, False)


def test_empty_is_white_space_and_punctuation() -> None:
    assert all(empty(text) for text in ("", " \n", "...", "?!", "**", "\u200b"))
    assert not any(empty(text) for text in ("no", "42", "はい", "🎉"))


LOOPS = {
    "one word": "The answer is yes because " + "very " * 40,
    "one word, last one cut": "I think that the model is good and goo" + " good" * 40 + " go",
    "one character": "Aaa" + "a" * 60,
    "exclamation marks": "Wow" + "!" * 50,
    "syllable": "ha" * 50,
    "words in a script without spaces": "答えは" + "はい" * 60,
    "phrase": "You should go to the store and " + "buy some milk and then " * 12,
    "sentence": "Paris is nice. " + "It is the capital of France. " * 8,
    "sentence, cut by the token limit": "Paris is nice. " + "It is the capital of France. " * 6 + "It is the cap",
    "refusal again and again": "I'm sorry, but I can't help with that request.\n\n" * 7,
    "lines": "Steps:\n" + "- Mix the flour with the water\n" * 8,
    "numbered lines that only count up": "\n".join(f"{i}. Take a deep breath and relax." for i in range(1, 15)),
    "paragraph": (
        "First, open the settings of your phone and choose the network. Then enter the password that stands on the "
        "router. "
    )
    * 4,
    "alternating sentences": "The quick answer depends on what you need today. "
    + "".join(
        [
            "You can ask a friend for help with this task. ",
            "It is always good to have a plan before you start. ",
            "Make sure that you have everything that you need. ",
        ][i]
        for i in (0, 1, 0, 2, 1, 0, 2, 2, 0, 1, 2, 1, 0, 2, 1, 0, 1, 2, 0)
    ),
    "empty list items": "1. 1. 1. " * 12,
    "dots in a row of a template": "Name: " + ". " * 150,
}

NO_LOOPS = {
    "plain": "Paris is the capital of France. It lies on the Seine and has about two million inhabitants.",
    "empty": "",
    "emphasis": "This is very, very, very, very good!",
    "laugh inside": "Hahahaha, that is a good one. Let me think of another.",
    "laugh at the end": "That is a good one, hahahahaha!",
    "similar line starts": "\n".join(
        f"- You can {verb} the {thing} to save energy."
        for verb, thing in [
            ("insulate", "roof"),
            ("seal", "windows"),
            ("lower", "thermostat"),
            ("replace", "boiler"),
            ("clean", "filters"),
            ("shade", "south side"),
        ]
    ),
    "poem with a refrain": (
        "The tide comes in, the tide goes out,\nand still the gulls are calling.\n"
        "The fisher mends his net of doubt,\nand still the rain is falling.\n"
        "The tide comes in, the tide goes out,\nthe lamps are lit at seven.\n"
        "The tide comes in, the tide goes out,\nand stars are hung in heaven."
    ),
    "song that ends on a refrain": "Sing it loud tonight\n" + "Let it go, let it go\n" * 3,
    "table of equal figures": "| a | b | c |\n|---|---|---|\n" + "| 0 | 0 | 0 |\n" * 6,
    "table with equal words": "| day | open |\n|---|---|\n"
    + "\n".join(f"| {day} | yes |" for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")),
    "matrix": "[[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]",
    "code": "```python\nfor i in range(10):\n    print(i)\nfor j in range(10):\n    print(j)\n```",
    "closing braces": "if (a) { if (b) { if (c) { if (d) { run(); } } } }",
    "html rows": "<tr><td>Ann</td><td>12</td></tr>\n<tr><td>Bob</td><td>15</td></tr>\n<tr><td>Cy</td><td>9</td></tr>",
    "rule at the end": "Thank you.\n" + "-" * 60,
    "form to fill in": "Signature: " + "_" * 50,
    "times table": "\n".join(f"7 x {i} = {7 * i}" for i in range(1, 13)),
    "dialogue": "A: Who is there?\nB: It is me.\nA: Who is me?\nB: It is me, the cat.\nA: Come in.",
    "counting": ", ".join(str(i) for i in range(1, 60)),
    "story whose refrain returns": "Once there was a king. "
    + " ".join(
        f"He asked the {who}: who is the wisest in the land? The {who} {did}."
        for who, did in [
            ("cook", "laughed and stirred the soup"),
            ("smith", "pointed at the fire with his hammer"),
            ("shepherd", "said nothing and watched the clouds"),
            ("miller", "counted his sacks twice"),
        ]
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_finds_loops(name: str) -> None:
    assert loops(LOOPS[name])


@pytest.mark.parametrize("name", NO_LOOPS)
def test_leaves_other_repetition_alone(name: str) -> None:
    assert not loops(NO_LOOPS[name])


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_that_is_left_is_none(name: str) -> None:
    ending = " But that is enough of it: in the end the traveller closed her book, thanked her host and took the train."
    assert not loops(LOOPS[name][:400] + ending)
