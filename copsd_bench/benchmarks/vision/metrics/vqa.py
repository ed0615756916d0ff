"""VQA accuracy: agreement with ten annotators, after the normalisation of answers of the VQA evaluation code.

Goyal et al. 2017 (arXiv 1612.00837); https://visualqa.org/evaluation.html. The released code's quirks are kept: they
decide which answers agree.
"""

import re
from collections.abc import Sequence

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32  # the released code passes a flag of this value where a count belongs
_DIGITS_AROUND_COMMA = re.compile(r"\d,+\d")
_NUMBER_WORDS = "none zero one two three four five six seven eight nine ten"
_NUMBERS = dict(zip(_NUMBER_WORDS.split(), map(str, (0, *range(11))), strict=True))
_ARTICLES = ("a", "an", "the")


def accuracy(answer: str, annotators: Sequence[str], official: bool = True) -> float:
    """Mean over the annotators of `min(1, matches among the others / 3)`.

    With ten annotators of whom k gave this answer: 0, 0.3, 0.6, 0.9, 1 for k = 0, 1, 2, 3 and more.

    Args:
        answer: the model's.
        annotators: their answers, one each.
        official: as in the released code, nothing is normalised where all annotators agree, apart from white space;
            otherwise always (lmms-eval).
    """
    given, others = _plain(answer), [_plain(text) for text in annotators]
    if not official or len(set(others)) > 1:
        given, others = normalise(given), [normalise(text) for text in others]
    matches = [text == given for text in others]
    agreeing = sum(matches)
    return sum(min(1.0, (agreeing - match) / 3) for match in matches) / len(matches)


def normalise(text: str) -> str:
    """Punctuation, number words, articles and contractions brought to one form; lower case."""
    words = [_NUMBERS.get(word, word) for word in _without_punctuation(_plain(text)).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _plain(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(text: str) -> str:
    """A mark that touches a space somewhere vanishes, as all do in a text like `1,000`; else it becomes a space."""
    out, joins = text, _DIGITS_AROUND_COMMA.search(text) is not None
    for mark in _PUNCTUATION:
        out = out.replace(mark, "" if joins or f"{mark} " in text or f" {mark}" in text else " ")
    return _PERIOD.sub("", out, count=_MOST_PERIODS)


_ONE_APOSTROPHE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd
they'll they're they've wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd
who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_FIRST_MISSING = """
hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've there'd've
they'd've who'd've wouldn't've couldn't've you'd've
"""


def _contractions() -> dict[str, str]:
    """Contractions by the spellings without an apostrophe that the evaluation code corrects, its gaps included."""
    found = {word.replace("'", ""): word for word in _ONE_APOSTROPHE.split()}
    for word in _FIRST_MISSING.split():
        stem, first, last = word.split("'")
        found |= {f"{stem}{first}'{last}": word, f"{stem}'{first}{last}": word}
    odd = {"somebody'd": "somebodyd", "twas": "'twas", "wed've": "we'd've", "we'dve": "we'd've"}
    ows = dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at")
    yall = dict.fromkeys(("yall'll", "y'allll"), "y'all'll")
    yall |= dict.fromkeys(("yall'd've", "y'alld've", "y'all'dve"), "y'all'd've")
    return found | odd | ows | yall


CONTRACTIONS = _contractions()
