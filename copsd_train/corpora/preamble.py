"""What models say around a revision: announcements, thanks for the critique, closing remarks."""

import re

_THING = r"(?:response|answer|reply|replies|version|revision|rewrite|draft|message|text|attempt)s?"
_REVISED = (
    rf"(?:revis(?:ed|ion|ing|e)\b|re-?writ\w+|rewrote|re-?word\w+|re-?phras\w+|re-?work\w+|"
    rf"(?:updated|improved|edited|corrected|modified|amended|adjusted) (?:\w+ )?{_THING}|{_THING},? again\b)"
)
_OTHER = rf"(?:better|new|second|final|safer|alternative|different) (?:\w+ )?(?:{_THING}|one)"
_EARLIER = rf"(?:previous|earlier|last|original|initial|first|prior) (?:\w+ )?{_THING}"
_CRITIQUE = r"(?:critique|criticism|feedback|suggestions?|pointing (?:that|this|it|them)(?: \w+)? out)"
_OPENER = (
    r"(?:sure(?: thing)?|certainly|absolutely|of course|okay|ok|alright|right|understood|got it|you(?:'re| are) right)"
)
_SAYING = (
    r"(?:here(?:'s| is| are)|this is|below is|the following is|please find|"
    r"i(?:'ve| have|'ll| will| would| can| could)?|let me|allow me to)"
)
_AT_START = rf"^(?:{_OPENER}[,.!]? (?:(?:and|so|but) )?)?"

_ANNOUNCES = re.compile(rf"{_AT_START}{_SAYING} (?:.*\b)?(?:{_REVISED}|{_OTHER})", re.IGNORECASE)
_ACKNOWLEDGES = re.compile(
    rf"{_AT_START}(?:thank(?:s| you)\b.*\b{_CRITIQUE}|(?:i(?:'m| am)? |my )?(?:sorry|apologi[sz]e|apologies)\b.*"
    rf"\b{_EARLIER}|(?:i see|i agree|i understand|(?:that|you) (?:is|are) right)\b.*\b(?:{_EARLIER}|{_CRITIQUE})|"
    rf"(?:my|the) {_EARLIER} (?:was|were|did|could|should|failed|may|might))\b",
    re.IGNORECASE,
)
_HEEDS = re.compile(
    r"^(?:based on|considering|given|in light of|taking|in response to) (?:\w+ ){0,3}(?:critique|criticism|feedback)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(
    rf"^(?:assistant|ai|(?:here is |(?:my|the|a) )?(?:(?:{_REVISED}|final)(?: (?:\w+ )?{_THING})?|{_THING}))"
    r"(?: is as follows)?$",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"^(?:i hope (?:that )?th\w+ .*(?:{_REVISED}|{_OTHER})|"
    rf"let me know if .*\b(?:{_REVISED}|(?:further|more|any|other) changes)|"
    rf"(?:in )?th(?:is|e) (?:{_REVISED} {_THING}|revision|rewrite)\b|(?:note|explanation): .*{_REVISED}|"
    r"(?:explanation|changes made|what i changed|reason(?:s|ing)? for (?:the |my )?changes?)$|"
    r"i(?:'ve| have)? (?:removed|revised|rewritten|rewrote|replaced|toned down)\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^\n]*?[.!?](?=\s|$)")
_DRESS = " *_#`"


def strip_preamble(text: str) -> str:
    """A revision without what was said around it; its own words are never changed.

    Taken off are lines, labels and sentences at the start that announce a revision or answer a critique, closing
    paragraphs about the change, and quotation marks or a fence around the whole. An opening that belongs to the answer,
    such as "Here is a recipe:", stays.
    """
    before = None
    while text != before:
        before = text
        text = _unwrapped(_without_closing(_without_opening(text.strip())))
    return text


def _without_opening(text: str) -> str:
    line, _, below = text.partition("\n")
    said = _bare(line)
    headed = line.rstrip(_DRESS).endswith(":")
    if (headed and (_ANNOUNCES.match(said) or _HEEDS.match(said))) or _LABEL.match(said):
        return below
    label, colon, rest = line.partition(":")
    if colon and (_LABEL.match(_bare(label)) or (_ANNOUNCES.match(_bare(label)) and not re.search(r"[.!?] ", label))):
        return rest.lstrip("*_ ") + "\n" + below
    sentence = _SENTENCE.match(text)
    if sentence is None:
        return text
    said, after = _bare(sentence.group()), text[sentence.end() :]
    if _ACKNOWLEDGES.match(said) or _ANNOUNCES.match(said):
        return after
    if re.fullmatch(_OPENER, said, re.IGNORECASE) and _without_opening(after.strip()) != after.strip():
        return after
    return text


def _without_closing(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", text)
    for i, paragraph in enumerate(paragraphs):
        if i and _CLOSING.match(_bare(paragraph.partition("\n")[0])):
            return "\n\n".join(paragraphs[:i])
    return text


def _unwrapped(text: str) -> str:
    if text.startswith("> ") and all(line.startswith(">") for line in text.splitlines()):
        return "\n".join(line[1:].removeprefix(" ") for line in text.splitlines())
    for opening, closing in (('"', '"'), ("“", "”"), ("```\n", "\n```")):
        inner = text[len(opening) : -len(closing)]
        whole = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)
        if whole and opening not in inner and closing not in inner:
            return inner.strip()
    return text


def _bare(text: str) -> str:
    """Without markdown around it, and without the mark it ends with."""
    return text.strip(_DRESS).rstrip(":.!").strip(_DRESS).replace("’", "'")
