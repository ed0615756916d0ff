"""The Cross-SFT builder on the real small model, with few rows and few tokens."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.answers import Answer, InspectAnswerer, Ledger, Question, stream
from copsd_train.corpora.cross_sft import CrossSftConfig, build_cross_sft
from copsd_train.corpora.prompts import load_rows
from copsd_train.corpora.schema import PromptRow, SftRow, read_sft, seed_prompts
from copsd_train.corpora.selection import declines, faults, rewrite_faults, route_faults, select

SMALL = {"rows": {"safety": 2, "over_refusal": 1, "general": 2}, "max_tokens": 12, "rewrite": False}


@pytest.fixture(scope="module")
def engine(smollm2: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(smollm2.path, dtype="float32", batch_size=4)


class Counting:
    """An engine that counts what it is asked for and is killed after `limit` completions."""

    def __init__(self, engine: TransformersEngine, limit: int = 10**6) -> None:
        self.engine = engine
        self.limit = limit
        self.done = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def generate(
        self,
        view: View,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int] | None = None,
        on_complete: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        def counted(i: int, completion: Completion) -> None:
            assert on_complete is not None
            on_complete(i, completion)
            self.done += 1
            if self.done == self.limit:
                raise KeyboardInterrupt

        return self.engine.generate(view, prompts, sampling, seeds, counted)


def build(engine: Any, out: Path, **settings: Any) -> list[SftRow]:
    return read_sft(build_cross_sft(CrossSftConfig.model_validate({**SMALL, **settings}), engine, out))


def test_each_branch_takes_its_answers_from_the_right_author(engine: TransformersEngine, tmp_path: Path) -> None:
    rows = build(engine, tmp_path / "corpus.parquet")
    references = {row.prompt: row for row in seed_prompts()}
    assert Counter(row.kind for row in rows) == {"safety": 2, "over_refusal": 1, "general": 2}
    for row in rows:
        assert load_constitution(row.context or "") is not None
        if row.kind == "safety":
            assert row.response == references[row.prompt].reference
            assert row.context == row.category
            assert row.provenance["author"] == "file"
        else:
            prompt = engine.encode([{"role": "user", "content": row.prompt}])
            [own] = engine.generate(View(), [prompt], Sampling(12, 1.0), [stream(0, "own", row.id)])
            assert row.response == own.text.strip()
            assert row.complete == (own.stop_reason == "stop")
            assert row.context == "default"
    summary = json.loads((tmp_path / "corpus.parquet.summary.json").read_text())
    assert summary["rows"] == Counter(row.kind for row in rows)
    assert sum(summary["safety_tokens"]["base"]["histogram"].values()) == 2


def test_the_other_reading_answers_under_the_constitution(engine: TransformersEngine, tmp_path: Path) -> None:
    [row] = [r for r in build(engine, tmp_path / "c.jsonl", rows={"safety": 1, "over_refusal": 0, "general": 1},
                              preserving="with_constitution") if r.kind == "general"]  # fmt: skip
    prompt = engine.encode([{"role": "user", "content": row.prompt}], load_constitution("default").context())
    [own] = engine.generate(View(), [prompt], Sampling(12, 1.0), [stream(0, "own", row.id)])
    assert row.response == own.text.strip()


def test_a_killed_build_continues_and_asks_nothing_twice(engine: TransformersEngine, tmp_path: Path) -> None:
    whole = Counting(engine)
    build(whole, tmp_path / "whole.jsonl")
    killed = Counting(engine, limit=2)
    with pytest.raises(KeyboardInterrupt):
        build(killed, tmp_path / "killed.jsonl")
    assert not (tmp_path / "killed.jsonl").exists()
    with (tmp_path / "killed.jsonl.work").open("ab") as file:
        file.write(b'{"key": "torn')
    resumed = Counting(engine)
    build(resumed, tmp_path / "killed.jsonl")
    assert resumed.done == whole.done - 2
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    again = Counting(engine)
    build(again, tmp_path / "killed.jsonl")
    assert again.done == 0


def test_rewrites_that_fail_are_counted_and_an_empty_branch_is_refused(
    engine: TransformersEngine, tmp_path: Path
) -> None:
    with pytest.raises(CopsdError, match="rewrites that were cut at the token limit") as caught:
        build(engine, tmp_path / "c.jsonl", rewrite=True, rewrites=2, max_tokens=6)
    assert "\n" not in str(caught.value)
    summary = json.loads((tmp_path / "c.jsonl.summary.json").read_text())
    assert summary["asked"]["rewrites"] == sum(summary["rejected"]["rewrites"].values()) == 4
    assert summary["notes"][0].startswith("4 of 4 rewrites were rejected")


def row(route: str | None = None, prompt: str = "How do I boil eggs?", **fields: Any) -> PromptRow:
    return PromptRow.model_validate({"id": "1", "prompt": prompt, "kind": "safety", "route": route, **fields})


REFUSAL = Answer("I'm sorry, but I can't help with that. Please talk to somebody you trust.", True)
REDIRECT = Answer("It would hurt him, so I won't plan that. Talk to a mediator, and write down what happened.", True)
HELP = Answer("Boil the eggs for six minutes, then cool them quickly in plenty of cold water and peel them.", True)
LOOP = Answer("Boil the eggs and boil the eggs " * 20, True)
CUT = Answer(HELP.text, False)


def test_faults_are_named() -> None:
    copied = Answer("Sure! " + load_constitution("default").body()[:200], True)
    assert faults([row()] * 5, [HELP, LOOP, Answer("", True), CUT, copied]) == [
        None,
        "loop or are empty",
        "loop or are empty",
        "were cut at the token limit",
        "copy the constitution",
    ]
    rows = [row(route) for route in ("refuse", "refuse", "refuse", "warn", "help", "help", None)]
    answers = [REFUSAL, REDIRECT, HELP, REFUSAL, REFUSAL, HELP, REFUSAL]
    flipped = "refuse where they must help"
    assert route_faults(rows, answers) == [None, None, "help where they must refuse", flipped, flipped, None, None]
    assert declines(["q"] * 3, [REFUSAL.text, REDIRECT.text, HELP.text]) == [True, True, False]
    assert declines(["q"] * 2, ["I can't.", "I can't wait to tell you."]) == [True, False]


def test_rewrites_keep_stance_and_subject() -> None:
    off = Answer("The museum opens at nine and children pay half price on most days of the week.", True)
    told = Answer("Write the answer again in plain words please, then boil and cool the eggs in water, peel.", True)
    drafts, rewrites = [HELP, REFUSAL, HELP, HELP, HELP], [REFUSAL, HELP, off, told, HELP]
    instruction = "Write the answer again in plain words please, then boil and"
    assert rewrite_faults([row()] * 5, drafts, rewrites, instruction) == [
        "refuse where they must help",
        "help where they must refuse",
        "leave the subject",
        "repeat their instruction",
        None,
    ]  # fmt: skip


class Scripted:
    """A judge that always prefers the answer which holds a word, or always the one shown first."""

    name = "scripted"

    def __init__(self, word: str | None) -> None:
        self.word = word

    def answer(self, questions: Sequence[Question], sampling: Sampling, what: str) -> list[Answer]:
        return [Answer(f"VERDICT: {self._choice(question.prompt)}", True) for question in questions]

    def _choice(self, text: str) -> str:
        first, second = text.split("=== answer A ===")[1].split("=== answer B ===")
        return "A" if self.word is None or self.word in first else "B" if self.word in second else "TIE"


def test_selection_follows_trust_or_a_judge_asked_in_both_orders() -> None:
    better = Answer(HELP.text + " Use a timer.", True)
    rows = [row("help"), row("help"), row("help")]
    candidates = {"file": [HELP, None, None], "other": [better, better, LOOP]}

    def chosen(judge: Scripted | None) -> list[tuple[str, Answer] | None]:
        return select(rows, candidates, judge, 0, Counter())

    assert chosen(None) == [("file", HELP), ("other", better), None]
    assert chosen(Scripted("timer")) == [("other", better), ("other", better), None]
    assert chosen(Scripted("nothing of the kind")) == chosen(Scripted(None)) == chosen(None)


def test_a_model_by_name_answers_once(tmp_path: Path) -> None:
    questions = [Question(f"Number {i}?", load_constitution("hate").context(), i) for i in range(3)]
    first = InspectAnswerer("smollm2-135m", Ledger(tmp_path / "l")).answer(questions, Sampling(4), "asking")
    lines = (tmp_path / "l").read_bytes()
    again = InspectAnswerer("smollm2-135m", Ledger(tmp_path / "l")).answer(questions, Sampling(4), "asking")
    assert first == again
    assert (tmp_path / "l").read_bytes() == lines
    assert lines.count(b"\n") == 3


def test_rows_are_drawn_evenly_and_the_same_each_time() -> None:
    config = CrossSftConfig(rows={"safety": 36, "general": 8, "over_refusal": 0})
    rows = load_rows(config)
    assert rows == load_rows(config)
    routes = Counter((r.category, r.route) for r in rows if r.kind == "safety")
    assert len(routes) == 18
    assert set(routes.values()) == {2}
    assert len({r.category for r in rows if r.kind == "general"}) == 8


def test_own_prompts_replace_the_seed_and_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from copsd_bench.benchmarks.mini_items import load_mini_items

    monkeypatch.delenv("COPSD_DATA_DIR", raising=False)
    mine = [{"prompt": "How do I boil eggs softly for a picnic?", "kind": "general"}]
    mine.append({"prompt": load_mini_items()[0].prompt, "kind": "safety"})
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, mine)))
    with pytest.raises(CopsdError, match="overlaps the benchmarks in 1 of 2 prompts"):
        load_rows(CrossSftConfig(prompts=[tmp_path / "mine.jsonl"]))
    allowed = CrossSftConfig(prompts=[tmp_path / "mine.jsonl"], allow_overlap=True)
    assert {r.prompt for r in load_rows(allowed)} == {m["prompt"] for m in mine}
    with pytest.raises(CopsdError, match="in two files"):
        load_rows(allowed.model_copy(update={"prompts": [tmp_path / "mine.jsonl"] * 2}))
