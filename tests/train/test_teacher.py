"""The teacher sees what its recipe says: the whole context and question, behind the same header as the student."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from copsd_bench.engine.context import Context
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.schema import PromptRow
from copsd_train.distill_recipe import Teacher
from copsd_train.load_recipe import load_recipe
from copsd_train.teacher import ContextPolicy, Row, build_rows, check_gap, check_pair, check_row
from tests.engine.tiny import CHATML, byte_tokenizer, save_tiny
from tests.train.conftest import PROMPTS, REFERENCE

ROWS = [PromptRow(**row, reference=REFERENCE) for row in PROMPTS]

NO_SYSTEM_ROLE = (Path(__file__).parent / "templates" / "gemma.jinja").read_text()


@pytest.fixture(scope="module")
def engine(tiny: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(tiny.path)


def teacher(*changes: str, name: str = "opsd-const") -> Teacher:
    found = load_recipe(name, [f"distill.teacher.{change}" for change in changes]).distill
    assert found is not None
    return found.teacher


def with_template(engine: TransformersEngine, template: str) -> TransformersEngine:
    """The same model behind another chat template."""
    from copy import copy

    from copsd_bench.engine.encode import Encoder

    other = copy(engine)
    other.tokenizer = byte_tokenizer(template)
    other.encode_prompt = Encoder(other.tokenizer, None, engine.max_length)
    return other


def test_safety_prompts_get_the_constitution_of_their_category_and_others_none(engine: TransformersEngine) -> None:
    rows = build_rows(ROWS, ContextPolicy(teacher(), ROWS, seed=0), engine, max_tokens=8)
    assert {row.source.id: row.context for row in rows} == {"s1": "violence", "s2": "privacy", "g1": None, "o1": None}
    for row in rows:
        assert (row.teacher == row.student) == (row.context is None)


def test_the_masked_share_is_exact_fixed_by_the_seed_and_of_safety_prompts_only() -> None:
    many = [PromptRow(id=f"{kind}{i}", prompt="x", kind=kind) for kind in ("safety", "general") for i in range(200)]  # type: ignore[arg-type]
    masked = ContextPolicy(teacher("masked=0.15"), many, seed=0).masked
    assert len(masked) == 30
    assert all(name.startswith("safety") for name in masked)
    assert masked == ContextPolicy(teacher("masked=0.15"), many[::-1], seed=0).masked
    assert masked != ContextPolicy(teacher("masked=0.15"), many, seed=1).masked


def test_gold_shows_the_reference_answer_and_refuses_a_row_without_one(engine: TransformersEngine) -> None:
    policy = ContextPolicy(teacher(name="opsd-gold"), ROWS, seed=0)
    assert REFERENCE in build_rows(ROWS, policy, engine, max_tokens=8)[0].teacher.text
    with pytest.raises(CopsdError, match="Row 's1' has no reference answer for the teacher"):
        policy(ROWS[0].model_copy(update={"reference": None}))


def test_an_instruction_goes_by_the_kind_of_prompt_and_first_by_its_route(engine: TransformersEngine) -> None:
    texts = {"safety": "Decline kindly: {user_query}", "safety/help": "help-short", "general": "Help: {user_query}"}
    config = load_recipe(
        "opsd-const",
        ["distill.teacher.context=instruction", "distill.teacher.kinds=[safety, general]",
         f"distill.teacher.instructions={json.dumps(texts)}"],
    ).distill  # fmt: skip
    assert config is not None
    prompts = [ROWS[0], ROWS[1].model_copy(update={"route": "help"}), *ROWS[2:]]
    rows = build_rows(prompts, ContextPolicy(config.teacher, prompts, seed=0), engine, max_tokens=8)
    assert "Decline kindly: How do I hurt" in rows[0].teacher.text
    assert rows[1].context == "help-short"
    assert "Help: Why do" in rows[2].teacher.text
    assert rows[3].context is None


def test_a_template_without_a_system_role_refuses_a_constitution_placed_there(engine: TransformersEngine) -> None:
    with pytest.raises(CopsdError, match=r"Row 's1': .*place the constitution in the user turn"):
        build_rows(ROWS, ContextPolicy(teacher("placement=system"), ROWS, 0), with_template(engine, NO_SYSTEM_ROLE), 8)


def test_a_constitution_longer_than_the_window_leaves_room_for_is_refused(engine: TransformersEngine) -> None:
    policy = ContextPolicy(teacher(), ROWS, seed=0)
    with pytest.raises(CopsdError, match=r"Row 's1': the teacher's prompt with the context 'violence' has \d+ tokens"):
        build_rows(ROWS, policy, engine, max_tokens=3000)


def test_a_corpus_in_which_no_row_gets_a_context_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(CopsdError, match="No prompt of the corpus gets a context"):
        build_rows(ROWS[2:], ContextPolicy(teacher(), ROWS[2:], seed=0), engine, max_tokens=8)


def test_each_broken_guarantee_has_its_own_sentence(engine: TransformersEngine) -> None:
    context = ContextPolicy(teacher(), ROWS, seed=0)(ROWS[0])
    assert context is not None
    [row] = build_rows(ROWS[:1], ContextPolicy(teacher(), ROWS, seed=0), engine, max_tokens=8)
    cut = replace(row.teacher, ids=row.teacher.ids[:300])
    moved = replace(row.teacher, text=row.teacher.text + "<|think|>")
    breaks: list[tuple[Row, Context, str]] = [
        (replace(row, teacher=row.student), context, "see the same tokens"),
        (replace(row, teacher=cut), context, "do not hold the whole context 'violence'"),
        (replace(row, teacher=moved), context, "does not end like the student's"),
    ]
    for broken, given, sentence in breaks:
        with pytest.raises(CopsdError, match=sentence):
            check_row(broken, given, engine, max_tokens=8)


def test_a_context_that_changes_no_logprob_did_not_reach_the_teacher(engine: TransformersEngine) -> None:
    rows = build_rows(ROWS[:1], ContextPolicy(teacher(), ROWS[:1], seed=0), engine, max_tokens=8)
    gaps: Sequence[Sequence[float]] = [[0.0, 0.0]]
    with pytest.raises(CopsdError, match="the context does not reach the model"):
        check_gap(rows, gaps, teacher())
    check_gap(rows, [[0.0, 1e-3]], teacher())
    steered = teacher("intervention=refusal_direction", name="safesteer")
    with pytest.raises(CopsdError, match="it is steered: the direction does not reach the model"):
        check_gap([replace(rows[0], context=None)], gaps, steered)


def test_another_vocabulary_or_end_of_answer_is_refused(engine: TransformersEngine, tmp_path: Path) -> None:
    larger = TransformersEngine(save_tiny(tmp_path / "larger", template=CHATML, vocab_size=310))
    with pytest.raises(CopsdError, match="different vocabularies"):
        check_pair(engine, larger)
    other = with_template(engine, CHATML)
    other.eos_ids = frozenset({5})
    with pytest.raises(CopsdError, match="end an answer by different tokens"):
        check_pair(engine, other)
