"""Statistics of one answer's text: distinct-n, repetition, and whether it ends in a loop. No model, no tokenizer."""

import re
import unicodedata

_LONE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # scripts written without spaces: each character is a word
_WORD = re.compile(rf"[{_LONE}]|[^\W_{_LONE}]+(?:['’][^\W_{_LONE}]+)*")
_MARKER = re.compile(r"^[ \t]*(?:\d+[.):]|[-*•+])[ \t]+", re.MULTILINE)
_LAST_SIGNS = re.compile(r"[\W\d_]+\Z")
_COUNTER = re.compile(r"[\d\n]")
_SPACE = re.compile(r"\s+")
_REASONING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_REASONING_END = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)

LOOP_WORDS = 20
"""Words that a loop of whole words must cover: three refrains of a song stay below, a looping model does not."""
_WINDOW = 400  # words looked at, from the end
_SHORT_UNIT = 5  # a unit of fewer words must come back more often before it counts
_DRIFT_WORDS, _DRIFT_SHARE = 80, 0.9  # a loop that alternates a few sentences: almost nothing in the tail is new


def words(text: str) -> list[str]:
    """Lower-cased words of a text; an inner apostrophe stays in its word, a CJK character is one word.

    >>> words("Don’t stop: 3 steps")
    ["don't", 'stop', '3', 'steps']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def empty(text: str) -> bool:
    """Whether a text says nothing: no word and no pictograph, only white space and punctuation."""
    return _WORD.search(text) is None and not any(unicodedata.category(c) == "So" for c in text)


def without_reasoning(text: str) -> str:
    """What a reasoning model says to the user: no `<think>` block, be it closed, cut, or opened by the prompt."""
    if "think" not in text:
        return text
    return _REASONING_END.sub(" ", _REASONING.sub(" ", text))


def distinct_n(text: str, n: int) -> float | None:
    """Distinct word n-grams over all word n-grams (Li et al. 2016, arXiv 1510.03055), of one text.

    Returns:
        A fraction in (0, 1]; None when the text has fewer than `n` words.
    """
    grams = _ngrams(words(text), n)
    return len(set(grams)) / len(grams) if grams else None


def repetition(text: str, n: int = 4) -> float | None:
    """Share of the word n-grams that occurred before in the same text: `1 - distinct_n`.

    Returns:
        A fraction in [0, 1); None when the text has fewer than `n` words.
    """
    distinct = distinct_n(text, n)
    return None if distinct is None else 1 - distinct


def loops(text: str) -> bool:
    """Whether the text repeats itself until it ends: a degenerate answer.

    Found are one word or character again and again; a phrase, sentence, line or paragraph again and again (list numbers
    may count up meanwhile); and a tail that only alternates sentences said before. The end may cut the last repeat
    short. Similar line starts, refrains, tables and code are not loops: their content changes.
    """
    # Whatever repeats until the end brings its last letters back again and again: a cheap exit for nearly every text.
    last = _COUNTER.split(_LAST_SIGNS.sub("", text[-200:])[-8:])[-1]
    again = text.count(last) >= 3 or not any(c.isalpha() for c in text[-12:])
    if again and (_character_loop(text) or _word_loop(words(_MARKER.sub("", text)))):
        return True
    return _drifts(text)


def _ngrams(items: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(items[i:] for i in range(n)), strict=False))


def _period_runs(tail: list[str] | str) -> list[tuple[int, int]]:
    """(period, length covered) of each suffix with a shorter period, by the prefix function of the reversed tail."""
    back = tail[::-1]
    border = [0] * len(back)
    k = 0
    for i in range(1, len(back)):
        while k and back[i] != back[k]:
            k = border[k - 1]
        if back[i] == back[k]:
            k += 1
        border[i] = k
    return [(i + 1 - b, i + 1) for i, b in enumerate(border) if b]


def _word_loop(all_words: list[str]) -> bool:
    tail = all_words[-_WINDOW:]
    # The token limit may cut the last word: a loop shows with or without it.
    for end in (tail, tail[:-1]):
        if len(end) < LOOP_WORDS:
            continue
        for period, covered in _period_runs(end):
            if covered < LOOP_WORDS or covered < (3 if period >= _SHORT_UNIT else 6) * period:
                continue
            if any(any(c.isalpha() for c in word) for word in end[-period:]):
                return True  # rows of figures alone are no loop: tables and matrices do that
    return False


def _character_loop(text: str) -> bool:
    tail = _SPACE.sub(" ", text[-1200:]).strip()[-600:]
    for period, covered in _period_runs(tail):
        unit = tail[-period:]
        letters = any(c.isalpha() for c in unit)
        if period == 1 and covered >= (20 if letters or unit in "!?" else 100):
            return True  # "aaaa…"; rules and blanks to fill in ("-----", "_____") may be long
        if letters and " " not in unit and covered >= 60 and covered >= 10 * period:
            return True  # "hahaha…" without spaces
        # Figures and signs, as in a matrix, count only when they go on for very long or are all there is.
        figures = any(c.isdigit() for c in unit) and covered >= max(60, 0.8 * len(text.strip()))
        if not letters and covered >= 10 * period and (covered >= 200 or figures):
            return True
    return False


def _drifts(text: str) -> bool:
    rough = text.lower().split()
    if len(rough) < 2 * _DRIFT_WORDS or "```" in text:
        return False  # too short to tell, or code, which repeats itself by its grammar
    if len(set(rough[-_DRIFT_WORDS:]).difference(rough[:-_DRIFT_WORDS])) > _DRIFT_WORDS // 4:
        return False  # many new words: the cheap exit of nearly every text
    grams = _ngrams(words(text), 4)
    start = max(0, len(grams) - _DRIFT_WORDS)
    seen = set(grams[:start])
    old = 0
    for gram in grams[start:]:
        old += gram in seen
        seen.add(gram)
    return old >= _DRIFT_SHARE * _DRIFT_WORDS
