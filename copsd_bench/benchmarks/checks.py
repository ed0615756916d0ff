"""Answer checks without a judge: a number, a choice, instruction rules; and the schema they are stored in."""

import re
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from copsd_bench.benchmarks.instruction_rules import RULES, split_sentences, validate_rule

Name = Annotated[str, Field(min_length=1)]


class NumberCheck(BaseModel):
    """The number the answer settles on must equal `answer`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: Literal["number"]
    answer: int | float


class ChoiceCheck(BaseModel):
    """The option the answer settles on must be `answer` or one of its `aliases`.

    `others` are the wrong options a model may settle on; not the terms of the question, which a right answer may repeat
    (`the opposite of hot is cold`).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: Literal["choice"]
    answer: Name
    aliases: list[Name] = []
    others: Annotated[list[Name], Field(min_length=1)]

    @model_validator(mode="after")
    def _options_differ(self) -> "ChoiceCheck":
        names = [name.casefold() for name in (self.answer, *self.aliases, *self.others)]
        if len(set(names)) < len(names):
            raise ValueError("an option is named twice")
        return self


class InstructionRule(BaseModel):
    """A rule of `instruction_rules` by name, with its parameters as further fields."""

    model_config = ConfigDict(extra="allow", frozen=True)
    rule: str

    @model_validator(mode="after")
    def _applicable(self) -> "InstructionRule":
        validate_rule(self.rule, self.model_extra or {})
        return self


class InstructionCheck(BaseModel):
    """Every rule must hold; an empty answer follows no instruction."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    kind: Literal["instruction"]
    rules: Annotated[list[InstructionRule], Field(min_length=1)]


Check = Annotated[NumberCheck | ChoiceCheck | InstructionCheck, Field(discriminator="kind")]

# A sign counts unless it stands between two terms; digits glued to a letter (H2O) and exponents are no numbers.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[-−])?[$€£]?(?<![A-Za-z_^.0-9])(?<!\^\{)"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?P<decimals>\.[0-9]+)?(?:/(?P<divisor>[1-9][0-9]*))?"
)
_EMPHASIS = re.compile(r"[*_`\"“”‘]|(?<!\w)'|'(?!\w)")
_ANSWER_CUE = re.compile(
    r"\b(?:answer|solution|result|choice|conclusion)\b(?:\s+(?:is|would be|must be)\b|\s*[:=])\s*", re.IGNORECASE
)
_NUMBER_CUE = re.compile(_ANSWER_CUE.pattern + r"|####", re.IGNORECASE)
_CONCLUSION_CUE = re.compile(r"\b(?:therefore|thus|hence|consequently)\b|(?:^|[,.;\n])\s*so\b", re.IGNORECASE)
_REASON = re.compile(r"\b(?:because|since|given that)\b[^,.;!?\n]*", re.IGNORECASE)
_SET_ASIDE = re.compile(
    r"(?:\b(?:not|than|nor|never|neither|except|unlike|instead of|rather than)|n['’]t)(?:\s+(?:a|an|the))?\s*$",
    re.IGNORECASE,
)
_PREDICATE = re.compile(r"\b(?:is|are|was|be|becomes?)\s+(?:(?:a|an|the)\s+)?$", re.IGNORECASE)
_JOINED = re.compile(r"\s*(?:,?\s*\b(?:or|and|and/or)\b|/)\s*", re.IGNORECASE)
_OPENS_ALONE = re.compile(r"\s*(?:$|[\n.,:;!?)–—-])")
_POLAR = {"yes", "no", "true", "false"}


def numbers(text: str) -> list[Fraction]:
    """The numbers written in digits, exactly and in order.

    Understands signs, currency marks, thousands commas, decimals, and `a/b` as a fraction. A full stop after a number
    is punctuation.
    """
    text = re.sub(r"(?<=[0-9])(?:\{,\}|[\u00a0\u202f])(?=[0-9]{3})", ",", text)
    found = []
    for match in _NUMBER.finditer(text):
        value = Fraction(match["whole"].replace(",", "") + (match["decimals"] or "")) / int(match["divisor"] or 1)
        found.append(-value if match["sign"] else value)
    return found


def final_number(answer: str) -> Fraction | None:
    """The number an answer settles on; None if it has none.

    Plainly the last one would count an answer wrong for saying more, which a suite about length must not do. So, the
    first of these that there is:

    1. in the rest of the sentence after the last cue such as `the answer is` or `####`: the first number, or the first
       after its last `=`;
    2. the result of an opening line that is a bare number or equation, if no later line has an `=`;
    3. the last number.
    """
    text = _EMPHASIS.sub("", answer).strip()
    lines = re.sub(r":\s*\n\s*", ": ", text).splitlines()
    for part in reversed([part for line in lines for part in split_sentences(line)]):
        cues = list(_NUMBER_CUE.finditer(part))
        if cues and (stated := numbers(part[cues[-1].end() :].rsplit("=", 1)[-1])):
            return stated[0]
    if lines and not re.search(r"[^\W\d_]{2}", lines[0]) and "=" not in "".join(lines[1:]):
        opening = numbers(lines[0].rsplit("=", 1)[-1])
        if len(opening) == 1:
            return opening[0]
    found = numbers(text)
    return found[-1] if found else None


def number(answer: str, expected: int | float) -> bool:
    """Whether the answer settles on the expected number (`42`, `42.0`, `$42.` and `84/2` are equal)."""
    return final_number(answer) == Fraction(str(expected))


def choice(answer: str, right: list[str], others: list[str]) -> bool:
    """Whether the answer settles on a right option.

    Options count as whole words in any case (a single letter only as a capital, unless it is the whole answer, and `A`
    and `I` not as English words). An option is not stated in a question, in a reason (`because ...`, up to the next
    comma or full stop) or right after a word that sets it aside (`not`, `than`, `rather than` ...). The answer settles
    on the first stated option of the first of these places that has one:

    1. the rest of a sentence after the last cue such as `the answer is` or `Answer:`;
    2. the very beginning, if the option stands alone there (`Ann.`, `B) ...`, or any opening yes / no / true / false);
    3. the last sentence that states an option: after its last `so` or `therefore`, else right after its last `is`, else
       anywhere in it.

    Two options of different worth joined by `or`, `and` or `/` settle nothing.
    """
    text = _REASON.sub(" ", _EMPHASIS.sub("", answer)).strip()
    text = re.sub(r":\s*\n\s*", ": ", text)
    if len(text.strip(" .()")) == 1:
        text = text.upper()
    statements = [part for line in text.splitlines() for part in split_sentences(line) if not part.endswith("?")]
    options = _Options(right, others)
    for statement in reversed(statements):
        if (worth := options.settled_after(_ANSWER_CUE, statement)) is not None:
            return worth
    if (worth := options.opening("\n".join(statements))) is not None:
        return worth
    for statement in reversed(statements):
        for worth in (
            options.settled_after(_CONCLUSION_CUE, statement),
            options.predicate(statement),
            options.settled(statement),
        ):
            if worth is not None:
                return worth
    return False


class _Options:
    """Finds the options in a text. `worth` is True for a right option and False for a wrong one."""

    def __init__(self, right: list[str], others: list[str]) -> None:
        pairs = [(name, True) for name in right] + [(name, False) for name in others]
        pairs.sort(key=lambda pair: -len(pair[0]))  # the longest option wins where several match
        self._worth = [worth for _, worth in pairs]
        union = "|".join(f"({self._as_pattern(name)})" for name, _ in pairs)
        self._pattern = re.compile(rf"(?<!\w)(?:{union})(?![\w’])", re.IGNORECASE)

    @staticmethod
    def _as_pattern(name: str) -> str:
        if len(name) == 1 and name.isalpha():
            return rf"(?-i:{name.upper()})" + (r"(?!['’]|\s+[a-z])" if name.upper() in "AI" else "")
        return re.escape(name) + (r"(?!\s+one\b)" if name.casefold() == "no" else "")

    def mentions(self, text: str) -> list[tuple[int, int, bool]]:
        """(start, end, worth) of each stated option, in order."""
        return [
            (match.start(), match.end(), self._worth[(match.lastindex or 1) - 1])
            for match in self._pattern.finditer(text)
            if not _SET_ASIDE.search(text[: match.start()])
        ]

    def settled(self, text: str) -> bool | None:
        """Worth of the first stated option; False if it is joined to one of the other worth; None without any."""
        mentions = self.mentions(text)
        if not mentions:
            return None
        if len(mentions) > 1:
            (_, end, first), (start, _, second) = mentions[:2]
            if first != second and _JOINED.fullmatch(text[end:start]):
                return False
        return mentions[0][2]

    def settled_after(self, cue: re.Pattern[str], text: str) -> bool | None:
        """Worth settled on after the last cue that is followed by an option."""
        for match in reversed(list(cue.finditer(text))):
            if (worth := self.settled(text[match.end() :])) is not None:
                return worth
        return None

    def predicate(self, text: str) -> bool | None:
        """Worth of the last option said to be what something `is`; None without one."""
        for start, _, _ in reversed(self.mentions(text)):
            if _PREDICATE.search(text[:start]):
                return self.settled(text[start:])
        return None

    def opening(self, text: str) -> bool | None:
        """Worth of an option that stands alone at the very beginning; None otherwise."""
        text = text.lstrip("( ")
        mentions = self.mentions(text)
        if not mentions or mentions[0][0] != 0:
            return None
        end = mentions[0][1]
        alone = text[:end].casefold() in _POLAR or _OPENS_ALONE.match(text[end:])
        return self.settled(text) if alone else None


def check(item_check: NumberCheck | ChoiceCheck | InstructionCheck, answer: str) -> bool:
    """Whether an answer passes an item's check. An empty answer never does."""
    answer = answer.strip()
    if not answer:
        return False
    if isinstance(item_check, NumberCheck):
        return number(answer, item_check.answer)
    if isinstance(item_check, ChoiceCheck):
        return choice(answer, [item_check.answer, *item_check.aliases], item_check.others)
    return all(RULES[rule.rule](answer, **(rule.model_extra or {})) for rule in item_check.rules)
