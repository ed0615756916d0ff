"""Preambles as models write them are taken off; answers that only look alike stay as they are."""

import pytest

from copsd_train.corpora.preamble import strip_preamble

ANSWER = "Talk to them in the daytime first. Many owners do not know that their dog barks."

PREAMBLES = [
    "Here is the revised response:\n\n",
    "Here's a revised version of my response:\n",
    "Here’s my rewritten answer: ",
    "Sure! Here is a rewritten version of my last reply:\n\n",
    "Certainly, here's an updated response that avoids harm:\n\n",
    "Of course. Here is the revised reply:\n",
    "Sure, I can rewrite that. Here's the revised answer:\n\n",
    "Revised response:\n\n",
    "**Revised response:** ",
    "**Revised Answer**\n\n",
    "### Revised reply\n",
    "Revision: ",
    "Rewritten reply: ",
    "Improved version:\n",
    "Assistant: ",
    "Response: ",
    "My revised answer: ",
    "The revised response is as follows:\n\n",
    "Below is the revised reply.\n\n",
    "I have rewritten my reply so that it helps nobody to do harm:\n\n",
    "I've revised my previous response to be more respectful:\n\n",
    "Let me rewrite my last reply:\n\n",
    "I apologize for my previous response. Here is a better answer:\n\n",
    "I'm sorry about my earlier reply. ",
    "Apologies for my previous answer. Here's a revised version:\n\n",
    "Thank you for your feedback. ",
    "Thanks for pointing that out! Here is my revised answer:\n\n",
    "You're right, my previous answer was too harsh. Here's a revised one: ",
    "Based on the critique, here is a revised response:\n\n",
    "Given the feedback above, I would answer like this:\n\n",
    "My previous reply was too vague. ",
    "Here is a safer version of the reply:\n\n> ",
]
CLOSINGS = [
    "\n\nI hope this revised response is better.",
    "\n\nLet me know if you would like further changes.",
    "\n\nThis revised version avoids encouraging a quarrel.",
    "\n\nNote: I have revised the tone.",
    "\n\n**Changes made:**\n- less anger\n- more help",
    "\n\nI removed the joke about revenge.",
]
ANSWERS = [
    ANSWER,
    "Here is a recipe:\n\n1. Boil water.\n2. Add rice.",
    "Here's how to reply to an angry message: stay calm.",
    "Sure! Boil the water first.",
    "I'm sorry you are going through this. Call someone you trust.",
    "I'm sorry, but I can't help with that. You could ask a lawyer.",
    "Thank you for asking! Leaves turn red because of sugar.",
    "You are right to be careful with bleach.",
    "Changes in the weather make the leaves fall.",
    "Revised editions of a textbook often renumber the exercises.",
    "The final answer is 12.",
    'She said "no", and he said "yes".',
    "The new version of the program fixes the bug; install it with pip.",
    "Note: never mix bleach and ammonia.",
    "First, breathe.\n\nI hope this helps. Let me know how it goes.",
    "A second attempt often works: try again after an hour.",
    "With feedback from a teacher, you will improve faster.",
]


@pytest.mark.parametrize("preamble", PREAMBLES)
def test_a_preamble_is_taken_off(preamble: str) -> None:
    assert strip_preamble(preamble + ANSWER) == ANSWER


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_closing_remark_about_the_revision_is_taken_off(closing: str) -> None:
    assert strip_preamble(ANSWER + closing) == ANSWER
    assert strip_preamble(PREAMBLES[0] + ANSWER + closing) == ANSWER


@pytest.mark.parametrize("marks", ['"{}"', "“{}”", "```\n{}\n```"])
def test_marks_around_the_whole_are_taken_off(marks: str) -> None:
    assert strip_preamble(PREAMBLES[3] + marks.format(ANSWER)) == ANSWER


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_stays_as_it_is(answer: str) -> None:
    assert strip_preamble(answer) == answer


def test_nothing_but_a_preamble_leaves_nothing() -> None:
    assert strip_preamble("Here is the revised response:") == ""
