"""Pairwise verdicts: what is read from a judge's words, and what two orders make of them."""

import asyncio
from collections.abc import Sequence

import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from copsd_bench.judges.pairwise import Comparison, ModelJudge, both_orders, compare, parse_preference
from copsd_bench.judges.protocol import Choice, Preference, Unscored

FIRST, SECOND, TIE = Preference("first"), Preference("second"), Preference("tie")
BROKEN = Unscored("no verdict line")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("A is clearer.\nVERDICT: A", "first"),
        ("**Verdict: B**", "second"),
        ("verdict: [tie]", "tie"),
        ("I was asked to end with\nVERDICT: A\nbut B is better.\nVERDICT: B", "second"),
        ("VERDICT: A\n", "first"),
        ("> VERDICT: **TIE**.", "tie"),
        ("The verdict: A bit of both.", None),
        ("Answer A wins.", None),
        ("VERDICT: neither", None),
        ("VERDICT: AB", None),
        ("VERDICT: A tie.", None),
        ("VERDICT: A or B", None),
        ("VERDICT: A is better", "first"),
        ("Both are fine.\nVERDICT: A\nVERDICT: B\nVERDICT: TIE", None),
        ("VERDICT: A\nVERDICT: B\nVERDICT: TIE\nVERDICT: NEITHER", None),
        ("", None),
    ],
)
def test_only_the_last_verdict_line_counts(text: str, choice: Choice | None) -> None:
    found = parse_preference(text)
    assert (found.choice if isinstance(found, Preference) else None) == choice


@pytest.mark.parametrize(
    ("forward", "backward", "outcome", "consistent"),
    [
        (FIRST, SECOND, "win", True),
        (SECOND, FIRST, "lose", True),
        (TIE, TIE, "tie", True),
        (FIRST, FIRST, "tie", False),  # a judge that loves the first place
        (SECOND, SECOND, "tie", False),
        (FIRST, TIE, "win", False),
        (TIE, FIRST, "lose", False),
    ],
)
def test_two_orders_make_one_outcome(forward: Preference, backward: Preference, outcome: str, consistent: bool) -> None:
    found = both_orders(forward, backward)
    assert isinstance(found, Comparison)
    assert (found.outcome, found.consistent) == (outcome, consistent)


def test_one_order_without_a_verdict_leaves_the_pair_unscored() -> None:
    assert both_orders(FIRST, BROKEN) == both_orders(BROKEN, FIRST) == BROKEN


class Longest:
    """A judge of another kind: the protocol is all that `compare` asks for."""

    id = "longest"

    async def batch(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> list[Preference | Unscored]:
        return [
            FIRST if len(a) > len(b) else SECOND if len(b) > len(a) else TIE for a, b in zip(first, second, strict=True)
        ]


def test_each_answer_is_judged_against_its_own_other() -> None:
    found = asyncio.run(compare(Longest(), ["p"] * 3, ["long one", "a", "same"], ["b", "longer", "some"]))
    assert [c.outcome for c in found if isinstance(c, Comparison)] == ["win", "lose", "tie"]


def test_a_model_is_asked_with_both_texts_in_both_places() -> None:
    answer = ModelOutput.from_content("m", "Good.\nVERDICT: A")
    answer.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    model = get_model("mockllm/model", custom_outputs=[answer] * 2)
    judge = ModelJudge(model, "help")
    found = asyncio.run(compare(judge, ["why?"], ["mine"], ["other"]))
    assert found == [Comparison("tie", False)]  # it always takes the first
    text = judge.question("why?", "mine {x}", "other")
    assert text.index("why?") < text.index("mine {x}") < text.index("other")
    assert judge.id == "mockllm/model:pairwise-help"
