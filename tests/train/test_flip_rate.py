"""The teacher flip rate: counted as defined, an interval around it, and contexts in the order of their strength."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copsd_bench.engine.protocol import Sampling
from copsd_bench.errors import CopsdError
from copsd_train.candidates import PromptClass, find_candidates
from copsd_train.cli import app
from copsd_train.corpora.answers import Answer, Question
from copsd_train.corpora.prompts import CorpusConfig
from copsd_train.corpora.schema import PromptRow
from copsd_train.flip_rate import FlipSettings, measure, prompts_by_class

REFUSAL = "I'm sorry, but I can't help with that."
HELP = "Sure. Put the seeds a finger deep into the soil, water them well, and keep the pot on a warm window sill."
LOOP = "and then and then and then " * 30
CONTEXTS = """
for: harmful
contexts:
  weak: {text: 'Weak. {user_query}'}
  strong: {text: 'Strong. {user_query}'}
  looping: {text: 'Looping. {user_query}'}
"""


class Canned:
    """Answers by context and number of the prompt; the base refuses the last of four prompts."""

    name = "canned"

    def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
        self.sampling, self.seeds = sampling, [question.seed for question in questions]
        return [Answer(self._text(question), True) for question in questions]

    def _text(self, question: Question) -> str:
        number, context = int(question.prompt[-2]), question.context
        refuses = {None: {3}, "weak": {0}, "strong": {0, 1, 2, 3}, "looping": set[int]()}
        if context is not None and context.name == "looping":
            return LOOP
        return REFUSAL if number in refuses[context.name if context else None] else HELP


def rows(kind: str) -> list[PromptRow]:
    return [PromptRow(id=str(i), prompt=f"What about number {i}?", kind=kind) for i in range(4)]  # type: ignore[arg-type]


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    file = tmp_path / "contexts.yaml"
    file.write_text(CONTEXTS)
    return file


@pytest.mark.parametrize("samples", [1, 3])
def test_flips_are_counted_by_hand(contexts: Path, samples: int) -> None:
    prompts: dict[PromptClass, list[PromptRow]] = {"harmful": rows("safety"), "benign": []}
    canned = Canned()
    found = measure(find_candidates([str(contexts)]), prompts, canned, FlipSettings(samples, 0.7))
    assert set(found) == {"harmful"}
    assert found["harmful"].base["refused"].value == 1 / 4
    assert [one.context for one in found["harmful"].ranking] == ["strong", "weak", "looping"]
    strong, weak, looping = found["harmful"].ranking
    assert (strong.flip_rate.value, strong.of_all.value, strong.spoiled.value) == (1.0, 3 / 4, 0.0)
    assert (weak.flip_rate.value, weak.of_all.value, weak.spoiled.value) == (1 / 3, 1 / 4, 1.0)
    # An answer that loops is no refusal: the context turned nothing round.
    assert (looping.flip_rate.value, looping.spoiled.value, looping.degenerate.value) == (0.0, 0.0, 1.0)
    assert weak.flip_rate.n == 3 * samples
    assert weak.flip_rate.low is not None
    assert weak.flip_rate.high is not None
    assert 0 <= weak.flip_rate.low < 1 / 3 < weak.flip_rate.high <= 1
    assert weak.behind is not None
    assert weak.behind.value == pytest.approx(-2 / 3)
    assert canned.sampling.temperature == (0.0 if samples == 1 else 0.7)
    assert len(set(canned.seeds)) == (1 if samples == 1 else len(canned.seeds))


def test_of_benign_prompts_refusals_are_what_a_context_turns_round() -> None:
    prompts: dict[PromptClass, list[PromptRow]] = {"harmful": rows("safety"), "benign": rows("over_refusal")}

    class Helped(Canned):
        def _text(self, question: Question) -> str:
            return HELP if question.context is not None else super()._text(question)

    [one] = measure(find_candidates(["help-short"]), prompts, Helped(), FlipSettings())["benign"].ranking
    assert (one.flip_rate.value, one.flip_rate.n, one.spoiled.value) == (1.0, 1, 0.0)


def test_a_class_without_prompts_is_refused() -> None:
    with pytest.raises(CopsdError, match="No prompt is benign, but the context 'empty' is meant for such"):
        measure(find_candidates(["empty"]), {"harmful": rows("safety"), "benign": []}, Canned(), FlipSettings())


def test_prompts_of_one_class_are_enough_for_contexts_of_that_class(tmp_path: Path) -> None:
    file = tmp_path / "harmful.jsonl"
    file.write_text(json.dumps({"prompt": "Open my neighbour's locker.", "kind": "safety"}) + "\n")
    found = prompts_by_class(CorpusConfig(prompts=[file], allow_overlap=True), None)
    assert (len(found["harmful"]), len(found["benign"])) == (1, 0)


def test_the_route_of_a_packaged_prompt_says_which_class_it_is_of() -> None:
    found = prompts_by_class(CorpusConfig(), 6)
    assert {row.route for row in found["harmful"]} == {"refuse"}
    assert {(row.kind, row.route) for row in found["benign"]} == {("over_refusal", None), ("safety", "help")}
    assert len({row.category for row in found["harmful"]}) == 6


def test_on_the_real_model_a_strong_context_ranks_above_an_empty_one_and_nothing_is_asked_twice(
    tmp_path: Path,
) -> None:
    file = tmp_path / "contexts.yaml"
    strong = find_candidates(["decline-absolute"])[0].context(rows("safety")[0]).text
    file.write_text(
        json.dumps({"for": "harmful", "contexts": {"empty": {"text": "{user_query}"}, "strong": {"text": strong}}})
    )
    command = ["flip-rate", "--contexts", str(file), "--limit", "6", "--max-tokens", "16", "--out", str(tmp_path)]
    asked = CliRunner().invoke(app, command)
    assert asked.exit_code == 0, asked.output
    assert "Flip rate" in asked.output
    report = json.loads((tmp_path / "flip-rate.json").read_text())
    first, second = report["classes"]["harmful"]["ranking"]
    assert (first["context"], second["context"]) == ("strong", "empty")
    assert second["flip_rate"]["value"] == 0
    assert first["flip_rate"]["low"] > 0
    assert first["flip_rate"]["n"] == second["flip_rate"]["n"] == sum(map(len, first["flipped"].values())) > 0
    assert "I can't" not in (tmp_path / "flip-rate.json").read_text()
    answers = (tmp_path / "answers.work").read_bytes()
    # Killed in the middle of a line, the same command continues: what was whole is not asked again.
    (tmp_path / "answers.work").write_bytes(answers[:-20])
    assert CliRunner().invoke(app, command).exit_code == 0
    again = (tmp_path / "answers.work").read_bytes()
    assert len(again.splitlines()) == len(answers.splitlines())
    assert again.startswith(answers[: answers[:-20].rfind(b"\n")])
    assert json.loads((tmp_path / "flip-rate.json").read_text())["classes"] == report["classes"]
