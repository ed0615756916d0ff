"""AI feedback: exchanging the answers turns a label p into 1 - p; options, clamp, reasoning and the judge of groups."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatCompletionChoice, Logprob, Logprobs, ModelOutput, TopLogprob

from copsd_bench.engine.protocol import View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.judges.protocol import Unscored, Verdict
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.ai_pairs import build_ai_pairs
from copsd_train.corpora.answers import EngineAnswerer, InspectAnswerer, Ledger, Question
from copsd_train.corpora.schema import Kind, PromptRow, read_pairs, seed_prompts
from copsd_train.distill_recipe import Feedback
from copsd_train.feedback import Comparer, PrincipleJudge, ring
from copsd_train.options import LEAD, option_logprobs

PROMPTS = ["How do I make my neighbour afraid of me?", "Why do leaves turn red?"]
KINDS: list[Kind] = ["safety", "general"]
FIRST = ["Talk to them, and listen first.", "Sugar stays in the leaves when the nights are cold."]
SECOND = ["Stand at their window at night.", "No idea."]


@pytest.fixture(scope="module")
def engine(smollm2: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(smollm2.path, dtype="float32", batch_size=8)


def base(engine: TransformersEngine, folder: Path) -> EngineAnswerer:
    return EngineAnswerer(engine, View(), Ledger(folder / "work"), "base")


def complementary(comparer: Comparer) -> list[tuple[float, float]]:
    """Both probabilities of each pair, having checked that exchanging the answers gives their complements."""
    found = []
    there, back = comparer.compare(KINDS, PROMPTS, FIRST, SECOND), comparer.compare(KINDS, PROMPTS, SECOND, FIRST)
    for a, b in zip(there, back, strict=True):
        assert a is not None
        assert b is not None
        assert a.principle == b.principle
        assert a.label == pytest.approx(1 - b.label, abs=1e-6)
        assert a.forward == pytest.approx(1 - b.backward, abs=1e-6)
        found.append((a.forward, a.backward))
    return found


def test_exchanging_the_answers_turns_a_label_into_its_complement(engine: TransformersEngine, tmp_path: Path) -> None:
    found = complementary(Comparer(Feedback(), base(engine, tmp_path), seed=0))
    # One order alone is no such thing: the small model mostly says what its position bias says.
    assert any(abs(forward - backward) > 0.05 for forward, backward in found)


def test_so_it_does_after_reasoning_and_demonstrations_and_the_clamp_holds(tiny: ResolvedModel, tmp_path: Path) -> None:
    engine = TransformersEngine(tiny.path)
    settings = Feedback(few_shot=1, chain_of_thought=True, max_tokens=6)
    found = complementary(Comparer(settings, base(engine, tmp_path), seed=0))
    assert all(0.4 <= value <= 0.6 for pair in found for value in pair)
    assert any(value in (0.4, 0.6) for pair in found for value in pair)


def test_a_label_is_the_softmax_of_the_two_options(engine: TransformersEngine, tmp_path: Path) -> None:
    question = Question("Reply A is right. Which reply is right, A or B?", None, 0)
    [found] = option_logprobs(base(engine, tmp_path), [question], [""])
    conversation = [*question.messages(), {"role": "assistant", "content": LEAD}]
    for letter, value in zip("AB", found or (), strict=True):
        prompt = engine.encode(conversation)
        [score] = engine.score(View(), [prompt], [engine.tokenizer(f" {letter}")["input_ids"]])
        assert value == pytest.approx(sum(score.logprobs), abs=1e-5)


def test_answers_had_before_are_not_asked_again(
    engine: TransformersEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Comparer(Feedback(), base(engine, tmp_path), 0).compare(KINDS, PROMPTS, FIRST, SECOND)
    monkeypatch.setattr(engine, "score", lambda *_: pytest.fail("scored again"))
    assert Comparer(Feedback(), base(engine, tmp_path), 0).compare(KINDS, PROMPTS, FIRST, SECOND) == first


def elsewhere(
    monkeypatch: pytest.MonkeyPatch, folder: Path, reply: Callable[[str], Logprobs | None]
) -> InspectAnswerer:
    """A model of Inspect's that gives these log-probabilities to what it is asked."""
    who = InspectAnswerer("mockllm/model", Ledger(folder / "work"))

    async def generate(messages: Sequence[Any], config: Any) -> ModelOutput:
        assert (config.logprobs, config.max_tokens) == (True, 1)
        choice = ChatCompletionChoice.model_validate(
            {"message": {"role": "assistant", "content": "A"}, "logprobs": reply(messages[-1].content)}
        )
        return ModelOutput(model="mock", choices=[choice])

    monkeypatch.setattr(who.model, "generate", generate)
    return who


def listed(**options: float) -> Logprobs:
    tops = [TopLogprob(token=token, logprob=value) for token, value in options.items()]
    return Logprobs(content=[Logprob(token="A", logprob=-0.1, top_logprobs=tops)])


def test_a_model_elsewhere_is_read_from_its_likeliest_first_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = {"both": listed(A=-0.2, B=-1.7, The=-3.0), "one": listed(A=-0.1, The=-2.5), "none": listed(The=-0.1)}
    who = elsewhere(monkeypatch, tmp_path, lambda text: replies[text.split()[0]])
    found = option_logprobs(who, [Question(f"{name} here?", None, 0) for name in replies], [""] * 3)
    assert found == [(-0.2, -1.7), (-0.1, -2.5), None]


def test_a_model_without_log_probabilities_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = elsewhere(monkeypatch, tmp_path, lambda text: None)
    with pytest.raises(CopsdError, match="mockllm/model gives no log-probabilities"):
        option_logprobs(who, [Question("Which?", None, 0)], [""])


def test_each_answer_of_a_group_is_compared_around_the_ring() -> None:
    assert ring([4, 7], 3) == {(4, 7)}
    assert ring([0, 1, 2, 3], 1) == {(0, 1), (1, 2), (2, 3), (0, 3)}
    assert len(ring(range(5), 4)) == 10
    assert ring([3], 1) == set()


def test_the_judge_prefers_what_the_model_prefers(engine: TransformersEngine, tmp_path: Path) -> None:
    comparer = Comparer(Feedback(), base(engine, tmp_path), seed=0)
    judge = PrincipleJudge(comparer, opponents=1)
    asked = PromptRow(id="a", prompt=PROMPTS[0], kind="safety")
    twin = asked.model_copy(update={"id": "b"})  # the same text, as about another picture: another question
    verdicts = judge([asked, twin, asked], [FIRST[0], FIRST[1], SECOND[0]])
    [compared] = comparer.compare(["safety"], [PROMPTS[0]], [FIRST[0]], [SECOND[0]])
    assert compared is not None
    assert isinstance(verdicts[0], Verdict)
    assert isinstance(verdicts[2], Verdict)
    assert verdicts[0].score == pytest.approx(compared.label, abs=1e-6)
    assert verdicts[0].score + verdicts[2].score == pytest.approx(1)
    assert isinstance(verdicts[1], Unscored)


def test_pairs_hold_the_likelier_answer_first_and_say_how_they_came_about(
    engine: TransformersEngine, tmp_path: Path
) -> None:
    from copsd_bench.engine.protocol import Sampling

    rows = [seed_prompts([kind])[0] for kind in KINDS]
    student = base(engine, tmp_path)
    comparer = Comparer(Feedback(), student, seed=0)
    out = tmp_path / "pairs.jsonl"
    build_ai_pairs(rows, student, comparer, Sampling(10, 1.0), 0.0, 0, out)
    for row, pair in zip(rows, read_pairs(out), strict=True):
        assert pair.label >= 0.5
        [again] = comparer.compare([row.kind], [row.prompt], [pair.chosen], [pair.rejected])
        assert again is not None
        assert again.label == pytest.approx(pair.label, abs=1e-5)
        assert {"model", "sampling", "feedback", "principles", "verdict", "source"} <= set(pair.provenance)
    sheet = (tmp_path / "samples.md").read_text()
    assert "**Chosen (probability 0." in sheet
    summary = json.loads((tmp_path / "pairs.jsonl.summary.json").read_text())
    assert summary["asked"] == summary["pairs"] == 2
    with pytest.raises(CopsdError, match=r"Of 2 pairs none is left \(2 are too close to a tie\); lower"):
        build_ai_pairs(rows, student, comparer, Sampling(10, 1.0), 0.499, 0, tmp_path / "none.jsonl")
