"""How a model is asked to judge and how its reply is read: one `JudgeFormat` a judge, by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from copsd_bench.errors import unknown_name
from copsd_bench.judges.protocol import Unscored, Verdict

Message = dict[str, str]


@dataclass(frozen=True)
class Case:
    """What is judged.

    Attributes:
        prompt: what the user said.
        answer: the model's reply.
        group: `harmful` where a refusal is right, `benign` or `general` where it is not.
        category: the benchmark's own class of the prompt; may be empty.
        reference: the benchmark's own answer, where it has one.
        warning: what the benchmark says is dangerous here, where it says so.
    """

    prompt: str
    answer: str
    group: str = "harmful"
    category: str = ""
    reference: str = ""
    warning: str = ""


@dataclass(frozen=True)
class JudgeFormat:
    """A way to ask a model for a verdict.

    Attributes:
        name: for `--judge NAME:MODEL`.
        title: what it decides, for lists.
        measures: name of the score its verdicts' `score` is.
        lower_is_better: a rise of that score is bad.
        labels: every label it may give.
        ask: the messages for a case.
        read: the verdict in a reply, or why there is none.
        max_tokens: of a reply.
        closed: the messages end with the judged reply, a closed turn that the judge's own chat template wraps.
        template: arguments of that chat template.
        image: the judge is shown the image the question is about, after the text.
        harmful_only: its question or its score takes for granted that the request is a harmful one, whatever the case
            says; safety sets ask it about no other.
        classifier: it reads the probabilities of a model that classifies (provider `classifier/`), not its words.
    """

    name: str
    title: str
    measures: str
    lower_is_better: bool
    labels: tuple[str, ...]
    ask: Callable[[Case], list[Message]]
    read: Callable[[str, Case], Verdict | Unscored]
    max_tokens: int = 512
    closed: bool = False
    template: dict[str, Any] = field(default_factory=dict)
    image: bool = False
    harmful_only: bool = False
    classifier: bool = False


def last_marker(text: str, marker: str, labels: Sequence[str]) -> str | None:
    """The label after the last `MARKER: label` of a reply, or None.

    Markdown around either (bold, code, brackets, a heading) and case do not matter. Of several markers the last counts:
    a judge may repeat its instructions, or change its mind. A last marker without a known label is no verdict, nor is
    one that leaves the choice open (`yes or no`, `1, 2 or 3`): so ends a judge that only repeats what it was told.

    Of ratings, `4/5` and `4 out of 5` are the rating 4, and `4.5` is none.

    Args:
        text: a judge's reply.
        marker: the word before the colon.
        labels: what may follow; an underscore also matches a space or a hyphen. Figures are ratings up to the last.
    """
    dress = r"[\s*_`#>\[\]()\"'<]*"
    found = re.findall(rf"\b{re.escape(marker)}{dress}[:=：]{dress}([A-Za-z0-9][\w -]*)(.*)", text, re.IGNORECASE)
    if not found:
        return None
    head, rest = found[-1]
    if labels[-1].isdigit() and (rating := re.match(r"(\d+)(?:[.,]\d+|\s*(?:/|out of)\s*(\d+)(?!\s*/))", head + rest)):
        return rating[1] if rating[1] in labels and rating[2] == labels[-1] else None
    said = re.sub(r"[\s-]+", "_", head.strip().strip("_").lower()).replace("non_", "non")
    known = "|".join(sorted((re.escape(label).replace("_", "[_ -]") for label in labels), key=len, reverse=True))
    if re.match(rf"(?:{known})(?:\s+if\s|{dress}(?:,|/|\||\bor\b){dress}(?:{known})\b)", head + rest, re.IGNORECASE):
        return None
    fits = [label for label in labels if said == label.lower() or said.startswith(f"{label.lower()}_")]
    return max(fits, key=len, default=None)


@cache
def formats() -> dict[str, JudgeFormat]:
    """Every format by name: rubrics for any instruct model, and guard models' own."""
    from copsd_bench.judges.guards import GUARDS
    from copsd_bench.judges.rubrics import RUBRICS
    from copsd_bench.judges.vision_grades import GRADES
    from copsd_bench.judges.vision_rubrics import VISION_RUBRICS

    return {each.name: each for each in (*RUBRICS, *VISION_RUBRICS, *GRADES, *GUARDS)}


def format_named(name: str) -> JudgeFormat:
    """A format by name.

    Raises:
        CopsdError: there is none (with the nearest name).
    """
    if name not in formats():
        raise unknown_name("judge", name, formats())
    return formats()[name]
