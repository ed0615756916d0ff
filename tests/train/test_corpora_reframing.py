"""SHARD's corpus: what is in a row and what never is, what is dropped and counted, and runs killed and resumed."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ChatMessage, GenerateConfig

from copsd_bench.engine.protocol import View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.reframing import ReframingConfig, build_reframing
from copsd_train.corpora.schema import SftRow, read_pairs, read_sft
from copsd_train.corpora.split import stratified_split
from copsd_train.load_recipe import load_recipe
from copsd_train.ranks import Ranks
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.stages import execute
from tests.scripted import SCRIPTS
from tests.train.conftest import SMALL

PROMPTS = [
    {"id": f"{category or 'none'}-{i}", "kind": kind, "category": category, "prompt": f"{words} of story number {i}?"}
    for kind, category, words, count in (
        ("safety", "violence", "Which fights are part", 3),
        ("safety", "", "What is the sad ending", 2),
        ("general", "writing", "Who is the hero", 3),
    )
    for i in range(count)
]
REWRITTEN = "How can the people of this tale be at peace?"
FIRST = "In the story they quarrel about a horse and a field."
REFINED = "In the story they quarrel, and a wise neighbour makes them share it."


class Script:
    """Author, rewriter and judge in one.

    Args:
        broken: rewrites that cannot be read, before one can.
        prefers: the text a judge prefers, by a word of its rubric.
        refine: what a refiner writes after prompt, draft and request.
        stop_at: replies until it is interrupted.
    """

    def __init__(
        self,
        broken: int = 0,
        prefers: dict[str, str] | None = None,
        refine: Callable[[list[str]], str] = lambda said: f"{REFINED} {said[0].split('number ')[1][0]} of them do.",
        stop_at: int = 10**6,
    ) -> None:
        self.broken, self.prefers, self.refine, self.left = broken, prefers or {}, refine, stop_at
        self.asked: Counter[str] = Counter()
        self.rules: list[str] = []
        self.seeds: set[int | None] = set()
        SCRIPTS["script"] = self

    def __call__(self, messages: list[ChatMessage], config: GenerateConfig) -> str:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        text = messages[-1].text
        if text.startswith("You compare two answers"):
            first, second = text.split("=== answer A ===")[1].split("=== answer B ===")
            [word] = [word for aspect, word in self.prefers.items() if aspect in text]
            return f"VERDICT: {'A' if word in first else 'B' if word in second else 'TIE'}"
        if text.startswith("Write your answer to my message again"):
            return self.refine([message.text for message in messages])
        if not text.startswith("Message: "):
            return FIRST
        self.asked[text] += 1
        self.rules.append(messages[0].text)
        self.seeds.add(config.seed)
        mode = "soft_reframe" if self.asked[text] > self.broken else "none of them"
        return json.dumps({"response_mode": mode, "rewritten_prompt": REWRITTEN})


@pytest.fixture(scope="module")
def engine(tiny: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(tiny.path, dtype="float32", batch_size=8)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reframing") / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    return path


def build(engine: Any, prompts: Path, out: Path, **settings: Any) -> list[SftRow]:
    given = {"prompts": [prompts], "allow_overlap": True, "max_tokens": 8, "validation": 0.25, **settings}
    config = ReframingConfig.model_validate({"rewriter": "scripted/script", "author": "scripted/script", **given})
    return read_sft(build_reframing(config, engine, out, View(), "digest"))


def summary(out: Path) -> dict[str, Any]:
    return json.loads(out.with_name(out.name + ".summary.json").read_text())  # type: ignore[no-any-return]


def test_rows_lead_from_the_original_prompt_to_the_refined_answer(
    engine: TransformersEngine, prompts: Path, tmp_path: Path
) -> None:
    Script()
    training = build(engine, prompts, tmp_path / "sft.jsonl")
    validation = read_sft(tmp_path / "validation.jsonl")
    rows = training + validation
    originals = {row["id"]: row["prompt"] for row in PROMPTS}
    assert {row.id: row.prompt for row in rows} == originals
    assert len(validation) == 2
    assert all(row.response.startswith(REFINED) == (row.kind == "safety") for row in rows)
    assert all(row.context is None for row in rows)
    assert REWRITTEN not in (tmp_path / "sft.jsonl").read_text() + (tmp_path / "validation.jsonl").read_text()
    pairs = read_pairs(tmp_path / "pairs.jsonl")
    assert {pair.id for pair in pairs} == {row.id for row in training if row.kind == "safety"}
    assert all(
        (pair.chosen, pair.rejected) == (row.response, FIRST) for pair in pairs for row in training if row.id == pair.id
    )
    provenance = next(row for row in rows if row.kind == "safety").provenance
    assert provenance["model"] == "scripted/script"
    assert provenance["sampling"]["temperature"] == 0.3
    assert provenance["mode"] == "soft_reframe"
    assert provenance["verdict"] == {"first": "compliance", "refined": "compliance", "fault": None}
    assert {row.provenance["model"] for row in rows if row.kind == "general"} == {"digest"}
    sheet = (tmp_path / "samples.md").read_text()
    assert REWRITTEN in sheet  # people see how an answer came about
    assert FIRST in sheet


def test_a_prompt_without_a_category_is_rewritten_by_the_general_guidelines(
    engine: TransformersEngine, prompts: Path, tmp_path: Path
) -> None:
    script = Script()
    build(engine, prompts, tmp_path / "sft.jsonl")
    general, specific = sorted(set(script.rules), key=len)
    assert Counter(script.rules) == {general: 2, specific: 3}
    assert "injury" in specific
    assert "injury" not in general


def test_refined_answers_are_drawn_anew_until_one_is_kept(
    engine: TransformersEngine, prompts: Path, tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()

    def refine(said: list[str]) -> str:
        seen[said[0]] += 1
        story = said[0].split("number ")[1][0]
        usable = seen[said[0]] > int(story)  # story 0 at once, story 1 at the second attempt, story 2 never
        return f"{REFINED} {story} of them do." if usable else "No. " * 40

    Script(refine=refine)
    rows = build(engine, prompts, tmp_path / "sft.jsonl", validation=0, refine_attempts=2)
    kept = {row.id: row.provenance["refine_attempts"] for row in rows if row.kind == "safety"}
    assert kept == {"violence-0": 1, "violence-1": 2, "none-0": 1, "none-1": 2}
    assert sorted(seen.values()) == [1, 1, 2, 2, 2]
    counts = summary(tmp_path / "sft.jsonl")
    assert counts["asked"]["replies of the refiner"] == 8
    assert counts["asked"]["refined answers"] == 5
    assert counts["rejected"]["refined answers"] == {"loop or are empty": 1}


def test_broken_rewrites_are_asked_for_anew_then_dropped_and_counted(
    engine: TransformersEngine, prompts: Path, tmp_path: Path
) -> None:
    script = Script(broken=1)
    assert len(build(engine, prompts, tmp_path / "sft.jsonl", validation=0)) == len(PROMPTS)
    assert set(script.asked.values()) == {2}
    assert len(script.seeds) == 10  # each attempt draws from a stream of its own
    assert summary(tmp_path / "sft.jsonl")["asked"]["replies of the rewriter"] == 10
    Script(broken=3)
    with pytest.raises(CopsdError, match="rewrote none of 5 prompts in 3 attempts each") as caught:
        build(engine, prompts, tmp_path / "none.jsonl")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "none.jsonl").exists()
    assert summary(tmp_path / "none.jsonl")["rejected"]["rewrites"] == {"are wrong at response_mode": 5}


@pytest.mark.parametrize(
    ("refine", "fault"),
    [
        (lambda _: FIRST, "are the first answer"),
        (lambda _: f"{REFINED} {REWRITTEN.upper()}", "repeat the rewritten prompt"),
        (lambda _: "Your safer reading is better: they share it.", "speak about how they were made"),
        (lambda _: "The message asks for the end of a story.", "speak about how they were made"),
        (lambda _: "This request is about a story and its end.", "speak about how they were made"),
        (lambda _: "I'm ready to help you. What else would you like?", "leave the subject"),
        (lambda _: "I'm sorry, but I can't help with that.", "refuse where the first answer helps"),
        (lambda _: "", "loop or are empty"),
    ],
)
def test_what_shows_how_it_was_made_or_helps_less_is_dropped(
    engine: TransformersEngine, prompts: Path, tmp_path: Path, refine: Callable[[list[str]], str], fault: str
) -> None:
    Script(refine=refine)
    with pytest.raises(CopsdError, match="preferred none of 5 refined answers"):
        build(engine, prompts, tmp_path / "sft.jsonl")
    assert summary(tmp_path / "sft.jsonl")["rejected"]["refined answers"] == {fault: 5}


def test_a_judge_that_never_prefers_the_refined_answer_ends_the_build(
    engine: TransformersEngine, prompts: Path, tmp_path: Path
) -> None:
    Script(prefers={"serves the person": "horse", "safer to give": "none"})
    sentence = (
        "The judge scripted/script preferred none of 5 refined answers to the first ones .*5 refined answers that"
    )
    with pytest.raises(CopsdError, match=sentence) as caught:
        build(engine, prompts, tmp_path / "sft.jsonl", judge="scripted/script")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sft.jsonl").exists()
    assert "'help': 'lose'" in (tmp_path / "samples.md").read_text()


@pytest.mark.parametrize("safety_filter", [True, False])
def test_the_safety_filter_drops_what_the_judge_finds_less_safe(
    engine: TransformersEngine, prompts: Path, tmp_path: Path, safety_filter: bool
) -> None:
    Script(prefers={"serves the person": "neighbour", "safer to give": "horse"})
    settings = {"judge": "scripted/script", "safety_filter": safety_filter, "validation": 0}
    if not safety_filter:
        rows = build(engine, prompts, tmp_path / "sft.jsonl", **settings)
        assert len(rows) == len(PROMPTS)
        assert rows[-1].provenance["verdict"]["help"] == "win"
        return
    with pytest.raises(CopsdError, match="less safe than the first answer"):
        build(engine, prompts, tmp_path / "sft.jsonl", **settings)


def test_a_draft_can_answer_the_rewritten_prompt(engine: TransformersEngine, prompts: Path, tmp_path: Path) -> None:
    drafts: list[str] = []

    def refine(said: list[str]) -> str:
        drafts.append(said[1])
        return REFINED

    script = Script(refine=refine)
    SCRIPTS["script"] = lambda messages, config: (
        "A draft." if messages[-1].text == REWRITTEN else script(messages, config)
    )
    build(engine, prompts, tmp_path / "sft.jsonl", draft="rewritten")
    assert drafts == ["A draft."] * 5
    assert {pair.rejected for pair in read_pairs(tmp_path / "pairs.jsonl")} == {FIRST}


def test_every_stratum_gives_its_share_to_the_validation_rows() -> None:
    sizes = {"violence": 40, "hate": 7, "privacy": 3, "default": 1}
    rows = [
        SftRow(id=f"{name}-{i}", prompt="p", response="r", kind="safety", category=name)
        for name, size in sizes.items()
        for i in range(size)
    ]
    for share in (0.0, 0.1, 0.25, 0.5):
        training, validation = stratified_split(rows, share, seed=1)
        assert sorted(row.id for row in training + validation) == sorted(row.id for row in rows)
        assert abs(len(validation) - share * len(rows)) < 1
        held = Counter(row.category for row in validation)
        assert all(abs(held[name] - share * size) < 1 for name, size in sizes.items())
        assert (training, validation) == stratified_split(rows, share, seed=1)
    assert stratified_split(rows, 0.5, seed=1)[1] != stratified_split(rows, 0.5, seed=2)[1]


def trained(out: Path, name: str, base: ResolvedModel, prompts: Path) -> Path:
    settings = [setting for setting in SMALL if not setting.startswith("distill")]
    settings += [f"prompts=[{prompts}]", "corpus.author=scripted/script", "corpus.rewriter=scripted/script"]
    stage = "preference" if name == "shard-dpo" else "sft"
    settings += ["corpus.max_tokens=8", f"{stage}.batch_size=4", f"{stage}.epochs=1"]
    with Run.start(out, load_recipe(name, settings), base, []) as run:
        execute(run, Ranks())
    return out


def test_a_run_killed_in_any_part_of_the_corpus_equals_one_never_interrupted(
    tiny: ResolvedModel, prompts: Path, tmp_path: Path
) -> None:
    script = Script()
    whole = trained(tmp_path / "whole", "shard", tiny, prompts)
    replies = 10**6 - script.left
    for stop_at in (2, 6, 5):  # while rewriting, answering, refining
        Script(stop_at=stop_at)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", "shard", tiny, prompts)
        assert not (tmp_path / "killed" / "corpus" / "sft.jsonl").exists()
    last = Script()
    killed = trained(tmp_path / "killed", "shard", tiny, prompts)
    assert 10**6 - last.left == replies - 13
    for name in (
        "corpus/sft.jsonl",
        "corpus/validation.jsonl",
        "corpus/pairs.jsonl",
        "student/adapter_model.safetensors",
    ):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_the_dpo_arm_learns_to_prefer_refined_answers(tiny: ResolvedModel, prompts: Path, tmp_path: Path) -> None:
    Script()
    out = trained(tmp_path / "dpo", "shard-dpo", tiny, prompts)
    assert (out / "student" / "adapter_model.safetensors").exists()
    assert {row["stage"] for row in read_lines(out / "metrics.jsonl")} == {"preference"}
