"""The builder of critiques and revisions: what it makes of the real small model, and its mechanics on a tiny one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.engine.protocol import Sampling
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_train.corpora.answers import Answer, Question
from copsd_train.corpora.critique import CritiqueConfig, build_critique
from copsd_train.corpora.preamble import strip_preamble
from copsd_train.corpora.schema import SftRow, read_pairs, read_sft
from copsd_train.principles import load_principles
from tests.engine.tiny import save_tiny
from tests.train.test_corpora_cross_sft import Counting

SMALL = {"rows": {"safety": 3, "over_refusal": 1, "general": 1}, "max_tokens": 12, "revisions": 2}


@pytest.fixture(scope="module")
def engine(tiny: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(tiny.path, batch_size=4)


def build(engine: Any, out: Path, **settings: Any) -> list[SftRow]:
    return read_sft(build_critique(CritiqueConfig.model_validate({**SMALL, **settings}), engine, out))


def test_revisions_differ_from_drafts_and_carry_no_preamble(smollm2: ResolvedModel, tmp_path: Path) -> None:
    engine = TransformersEngine(smollm2.path, dtype="float32", batch_size=4)
    built = tmp_path / "sft.jsonl"
    build(engine, built, rows={"safety": 2, "over_refusal": 1, "general": 0})
    pairs = read_pairs(built.with_name("pairs.jsonl"))
    assert pairs
    for pair in pairs:
        assert pair.chosen != pair.rejected
        assert strip_preamble(pair.chosen) == pair.chosen
    revised = [row for row in read_sft(built) if row.kind == "safety"]
    assert {row.prompt for row in revised} == {pair.prompt for pair in pairs}
    for row in revised:
        assert strip_preamble(row.response) == row.response
        assert row.context is None
        assert row.id.endswith(f"~{row.provenance['step']}")
        assert set(row.provenance["principles"]) <= {each.id for each in load_principles().principles}
        assert row.provenance["sampling"]["temperature"] == 1.0
        assert {"model", "critic", "reviser", "verdict"} <= set(row.provenance)


def test_the_chain_is_a_conversation_and_repeats_on_the_revision(engine: TransformersEngine, tmp_path: Path) -> None:
    """What is asked, word by word, from the ledger's side: every step sees the text of the step before."""
    asked: list[Question] = []

    class Scripted:
        name = "scripted"

        def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
            asked.extend(questions)
            if what.startswith("Critique"):
                return [Answer("It could hurt somebody.", True) for _ in questions]
            step = what.partition("step ")[2][0]
            texts = [f"Here is the revised response:\n\nReply {step} to {q.before[-2][0]}" for q in questions]
            return [Answer(text, True) for text in texts]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copsd_train.corpora.critique.named_answerer", lambda name, base: Scripted())
        rows = build(engine, tmp_path / "sft.jsonl", few_shot=1)
    revised = [row for row in rows if row.kind == "safety"]
    assert [row.response for row in revised] == [f"Reply {row.provenance['step']} to {row.prompt}" for row in revised]
    principles = load_principles()
    [shown] = principles.demonstrated(1)
    for question in asked:
        turns = [turn["content"] for turn in question.turns()]
        assert turns[:2] == [shown.prompt, shown.draft]
        assert turns[3] == shown.critique
        assert turns[5] == shown.revision
    second = [q for q in asked if q.before[3][1].startswith("Reply 1")]
    assert len(second) == len(asked) / 2
    assert any(asked[i].prompt != asked[i + 6].prompt for i in range(3))  # each step draws its principle anew


def test_variants(engine: TransformersEngine, tmp_path: Path) -> None:
    """Direct revision asks for no critique; another model writes what it is named for; the last revision alone."""
    other = resolve_model(str(save_tiny(tmp_path / "other", max_position_embeddings=4096, num_hidden_layers=1)))
    ledger = tmp_path / "direct" / "sft.jsonl.work"
    rows = build(engine, tmp_path / "direct" / "sft.jsonl", direct=True, reviser=str(other.path), keep="last")
    revised = [row for row in rows if row.kind == "safety"]
    assert len({row.prompt for row in revised}) == len(revised)
    assert all(row.provenance["critic"] is None for row in revised)
    assert all(other.identity in row.provenance["reviser"] for row in revised)
    assert len(ledger.read_text().splitlines()) == 5 + 3 * 2
    sheet = (tmp_path / "direct" / "samples.md").read_text()
    assert "**Revised**" in sheet  # what the last revision began with
    assert "**Critique**" not in sheet
    criticised = build(engine, tmp_path / "critic" / "sft.jsonl", critic=str(other.path), revisions=1)
    found = [row.provenance for row in criticised if row.kind == "safety"]
    assert all(other.identity in each["critic"] and each["reviser"] == "base" for each in found)
    assert "**Critique**" in (tmp_path / "critic" / "samples.md").read_text()


def test_a_build_killed_at_any_moment_goes_on_without_asking_twice(engine: TransformersEngine, tmp_path: Path) -> None:
    out, built, asked = tmp_path / "sft.jsonl", tmp_path / "whole" / "sft.jsonl", 0
    build(engine, built)
    for limit in (2, 6, 5, 100):
        counting = Counting(engine, limit)
        try:
            build(counting, out)
        except KeyboardInterrupt:
            assert not out.exists()
        asked += counting.done
    assert asked == len(built.with_name("sft.jsonl.work").read_text().splitlines())
    for name in ("sft.jsonl", "pairs.jsonl", "samples.md", "sft.jsonl.summary.json"):
        assert (tmp_path / name).read_bytes() == built.with_name(name).read_bytes()


def test_a_revision_that_says_nothing_new_is_counted_and_left_out(engine: TransformersEngine, tmp_path: Path) -> None:
    class Echo:
        name = "echo"

        def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
            return [Answer(f"Revised response: {q.before[-1][1]}", True) for q in questions]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("copsd_train.corpora.critique.named_answerer", lambda name, base: Echo())
        with pytest.raises(CopsdError, match=r"rejecting 6 revisions that change nothing, has 0 safety rows"):
            build(engine, tmp_path / "sft.jsonl", direct=True)
    summary = json.loads((tmp_path / "sft.jsonl.summary.json").read_text())
    assert summary["rejected"]["revisions"] == {"change nothing": 6}


def test_bad_settings_are_refused_in_one_sentence(engine: TransformersEngine, tmp_path: Path) -> None:
    with pytest.raises(CopsdError, match="few_shot asks for 9 demonstrations"):
        build(engine, tmp_path / "sft.jsonl", few_shot=9)
    with pytest.raises(ValueError, match="direct writes no critique"):
        CritiqueConfig(direct=True, critic="mockllm/model")
