"""Whatever the chat template: the student's completion ids can follow the teacher's prompt, which holds everything."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.encode import Encoder
from copsd_bench.engine.protocol import Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.schema import PromptRow
from copsd_train.distill_recipe import Teacher
from copsd_train.teacher import ContextPolicy, Row, build_rows
from tests.engine import naive
from tests.engine.tiny import byte_tokenizer, save_tiny

TEMPLATES = Path(__file__).parent / "templates"
MARKERS = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>"],
    "mistral": ["[INST]", "[/INST]"],
}
HEADER = {
    "chatml": "<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<end_of_turn>\n<start_of_turn>model\n",
    "mistral": "[/INST]",
}
"""What stands between the user's turn and the answer."""
PROMPTS = [
    PromptRow(id="plain", prompt="How do I remove rust from a knife?", kind="safety"),
    PromptRow(id="odd", prompt="  Is  {this} [INST] fine?\n\nØ→é ", kind="safety"),
]


@pytest.fixture(params=["bytes", "smollm2"])
def tokenizer(request: pytest.FixtureRequest, smollm2: ResolvedModel) -> Any:
    """One that puts BOS before any text by itself, and a real BPE whose merges could cross a boundary."""
    if request.param == "bytes":
        return byte_tokenizer(None, adds_bos=True)
    from transformers import AutoTokenizer

    real = AutoTokenizer.from_pretrained(smollm2.path)
    real.add_special_tokens({"bos_token": "<bos>"})
    return real


def dressed(tokenizer: Any, template: str) -> Any:
    """The tokenizer with a family's template and its markers as single tokens."""
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    tokenizer.add_special_tokens({"additional_special_tokens": MARKERS[template]})
    return tokenizer


def rows(tokenizer: Any, placement: str) -> list[Row]:
    """The prompts as student and teacher see them, built and checked as a run does."""
    engine: Any = SimpleNamespace(tokenizer=tokenizer, encode=Encoder(tokenizer, None, 8192), max_length=8192)
    config = Teacher(adapter="none", context="constitution", placement=placement)  # type: ignore[arg-type]
    return build_rows(PROMPTS, ContextPolicy(config, PROMPTS, seed=0), engine, max_tokens=64)


@pytest.mark.parametrize("placement", ["user", "system"])
@pytest.mark.parametrize("template", list(MARKERS))
def test_both_prompts_end_alike_and_the_teachers_is_whole(tokenizer: Any, template: str, placement: str) -> None:
    dressed(tokenizer, template)
    if (template, placement) == ("gemma", "system"):
        with pytest.raises(CopsdError, match=r"'plain'.*System role not supported.*in the user turn"):
            rows(tokenizer, placement)
        return
    header = tokenizer(HEADER[template], add_special_tokens=False)["input_ids"]
    body = load_constitution("default").body()
    for row in rows(tokenizer, placement):
        for prompt in (row.student, row.teacher):
            assert list(prompt.ids[-len(header) :]) == header
            assert prompt.ids.count(tokenizer.bos_token_id) == prompt.text.count("<bos>") == (template != "chatml")
            assert tokenizer.decode(prompt.ids) == prompt.text
            assert row.source.prompt.strip() in prompt.text
        assert body in row.teacher.text
        assert body not in row.student.text
        turns = [row.teacher.text.index(text) for text in (body, row.source.prompt.strip(), HEADER[template])]
        if placement == "system":
            assert turns == sorted(turns)


@pytest.mark.parametrize("template", list(MARKERS))
def test_the_sampled_ids_themselves_are_scored_behind_the_teachers_prompt(tmp_path: Path, template: str) -> None:
    save_tiny(tmp_path, max_position_embeddings=4096)
    dressed(byte_tokenizer(None, adds_bos=True), template).save_pretrained(tmp_path)
    engine = TransformersEngine(tmp_path)
    [row, _] = build_rows(
        PROMPTS,
        ContextPolicy(Teacher(adapter="none", context="constitution"), PROMPTS, seed=0),
        engine,
        max_tokens=8,
    )
    sampled = engine.generate(View(), [row.student] * 3, Sampling(max_tokens=8, temperature=1.0), seeds=[1, 2, 3])
    scores = engine.score(View(), [row.teacher] * 3, [completion.ids for completion in sampled])
    for completion, score in zip(sampled, scores, strict=True):
        told, _, _ = naive.score(engine.model, row.teacher.ids, completion.ids)
        assert score.logprobs == pytest.approx(told, abs=1e-4)
        assert score.logprobs != pytest.approx(completion.logprobs, abs=1e-2)  # the context reached the model
