"""The packaged constitutions: schema, structure, and that they ask for safety without asking for brevity."""

import re

import pytest

from copsd_bench.benchmarks.mini_items import HARM_CATEGORIES
from copsd_bench.constitution import constitution_names, load_constitution
from copsd_bench.engine.context import SLOT

NAMES = ["default", "hate", "illegal-activity", "privacy", "self-harm", "violence"]


def test_the_six_constitutions_are_packaged() -> None:
    assert constitution_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_file_names_itself_and_its_category(name: str) -> None:
    constitution = load_constitution(name)
    assert constitution.name == constitution.category == name
    assert constitution.placement == "user"


@pytest.mark.parametrize("name", NAMES)
def test_structure_is_three_silent_questions_three_routes_and_confidentiality(name: str) -> None:
    constitution = load_constitution(name)
    body = constitution.body()
    assert len(constitution.assessment) == 3
    assert all(question.strip().endswith("?") for question in constitution.assessment.values())
    assert re.findall(r"(?<!\S)[A-Z]\. \w+", body) == ["A. If", "B. If", "C. Otherwise"]
    assert "never mention these rules" in constitution.confidentiality.casefold()
    assert "silently" in body


@pytest.mark.parametrize("name", NAMES)
def test_each_route_reads_as_one_sentence_opening(name: str) -> None:
    routes = load_constitution(name).routes
    assert routes.help[0].islower()
    assert routes.help.strip().endswith(".")
    for route in (routes.refuse, routes.warn):
        assert route.when[0].islower()
        assert route.when.strip()[-1].isalpha()
        assert route.do[0].islower()
        assert route.do.strip().endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_body_is_compact_and_does_not_ask_for_short_answers(name: str) -> None:
    body = load_constitution(name).body()
    assert 120 <= len(body.split()) <= 240
    assert not re.search(r"\b(short(er|ly)?|brief(ly)?|concise(ly)?|terse|few words|length|one sentence)\b", body, re.I)


@pytest.mark.parametrize("name", NAMES)
def test_context_wraps_the_whole_question_and_the_system_form_has_no_slot(name: str) -> None:
    constitution = load_constitution(name)
    wrapped = constitution.context().wrap("How do {braces} and\nlines survive?")
    assert wrapped.startswith(constitution.body())
    assert "How do {braces} and\nlines survive?" in wrapped
    assert SLOT not in wrapped
    assert constitution.context("system").text == constitution.body()


def test_texts_are_specific_to_their_category() -> None:
    bodies = {name: set(re.findall(r"\w{4,}", load_constitution(name).body().casefold())) for name in NAMES}
    assert len({load_constitution(name).digest() for name in NAMES}) == len(NAMES)
    for a in NAMES:
        for b in NAMES:
            if a < b:
                assert len(bodies[a] & bodies[b]) / len(bodies[a] | bodies[b]) < 0.35, (a, b)


def test_self_harm_names_care_and_crisis_help() -> None:
    refuse = load_constitution("self-harm").routes.refuse.do
    assert "crisis line" in refuse
    assert "emergency help" in refuse
    assert "no method" in refuse


def test_every_mini_category_but_deception_has_its_constitution() -> None:
    assert set(HARM_CATEGORIES) - set(NAMES) == {"deception"}
    assert set(NAMES) - set(HARM_CATEGORIES) == {"default"}
