"""What MathVista's problems ask for, and how a model is asked to read the answer off a response."""

from typing import Any

MAX_TOKENS = 256
LETTERS = "ABCDEFGHIJ"
_DIGITS = {1: "one decimal place, such as 0.7", 2: "two decimal places, such as 0.75"}


def query(problem: dict[str, Any], hint_last: bool = False) -> str:
    """The question, its unit, the lettered choices, and what the answer should look like (first, or last).

    Args:
        problem: a record of MathVista.
        hint_last: the hint stands behind the choices.
    """
    unit = f" (Unit: {problem['unit']})" if problem["unit"] else ""
    parts = [f"Question: {problem['question']}{unit}"]
    if problem["choices"]:
        options = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, problem["choices"], strict=False))
        parts.append(f"Choices:\n{options}")
    parts.insert(len(parts) if hint_last else 0, f"Hint: {hint(problem)}")
    return "\n".join(parts)


def hint(problem: dict[str, Any]) -> str:
    """What the answer should end with."""
    if problem["question_type"] == "multi_choice":
        return "Answer the question and end with the letter of the right option, such as A, B, C or D."
    kind = {
        "integer": "a whole number, such as 7",
        "float": f"a number with {_DIGITS.get(problem['precision'], 'decimals')}",
        "list": "a Python list, such as [3, 5] or [0.5, 2.5]",
    }[problem["answer_type"]]
    return f"Answer the question and end with {kind}."


_EXAMPLES = (
    (
        {"question_type": "free_form", "answer_type": "integer", "precision": None},
        "How many apples hang on the tree?",
        "Counting from left to right I see eleven apples on the tree.",
        "11",
    ),
    (
        {"question_type": "free_form", "answer_type": "float", "precision": 1},
        "How much of the pie is left?",
        "Three of five pieces are left, so it is 3/5 = 0.6 of the pie.",
        "0.6",
    ),
    (
        {"question_type": "free_form", "answer_type": "float", "precision": 2},
        "What do a pear and a plum cost together?",
        "The pear costs $0.85 and the plum $0.40, which makes $1.25.",
        "1.25",
    ),
    (
        {"question_type": "free_form", "answer_type": "list", "precision": None},
        "In which two months did it rain most?",
        "The bars are highest for the fourth and the ninth month.",
        "[4, 9]",
    ),
    (
        {"question_type": "multi_choice", "answer_type": "text", "precision": None},
        "Which part of the circle is grey?\nChoices:\n(A) 1/4\n(B) 1/2\n(C) 3/4",
        "Half of the circle is grey, which is option (B) 1/2.",
        "B",
    ),
)
"""One for each form of answer: its kind, a question, a response, what is extracted."""


def extraction_prompt(question: str, response: str) -> str:
    """Asks a model for the answer a response gives, after five worked examples.

    Args:
        question: the problem's `query`.
        response: the tested model's.
    """
    examples = [
        f"Hint: {hint(kind)}\nQuestion: {asked}\n\nResponse: {said}\n\nExtracted answer: {found}"
        for kind, asked, said, found in _EXAMPLES
    ]
    intro = "Read off the answer that the last response gives, in the form of the examples. Write the answer alone."
    return "\n\n".join([intro, *examples, f"{question}\n\nResponse: {response}\n\nExtracted answer:"])
