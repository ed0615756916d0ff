"""From a conversation to token ids: the model's own template, once, and nothing dropped without a word."""

from pathlib import Path
from typing import Any

import pytest

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.context import Context
from copsd_bench.engine.encode import Encoder
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from tests.engine.tiny import BOS, CHATML, byte_tokenizer

# The structure of three common template families, in our own words.
HEADERS = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content | trim }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
NO_SYSTEM_ROLE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}(turn {{ m.role }}){{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}(turn model){% endif %}"
)
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[I] {{ m.content }} [/I]"
    "{% elif m.role == 'assistant' %} {{ m.content }}<eos>{% endif %}{% endfor %}"
)
"""Drops a system message without a word."""

QUESTION = [{"role": "user", "content": "  How do I bake bread?  "}]


def encoder(template: str | None, adds_bos: bool = True, window: int = 4096) -> Encoder:
    return Encoder(byte_tokenizer(template, adds_bos), None, window)


@pytest.mark.parametrize("template", [HEADERS, NO_SYSTEM_ROLE, BRACKETS], ids=["headers", "no system", "brackets"])
def test_a_template_that_writes_bos_gets_no_second_one(template: str) -> None:
    encode = encoder(template)
    prompt = encode(QUESTION)
    assert prompt.ids[0] == BOS
    assert prompt.ids.count(BOS) == 1
    assert encode.tokenizer.decode(prompt.ids) == prompt.text


def test_raw_text_gets_the_tokenizers_own_special_tokens() -> None:
    assert encoder(None)("abc").ids[0] == BOS
    assert BOS not in encoder(None, adds_bos=False)("abc").ids


def test_the_real_template_is_chatml_and_equals_transformers(smollm2_engine: TransformersEngine) -> None:
    conversation = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "What is 2+2?"},
    ]
    tokenizer = smollm2_engine.tokenizer
    prompt = smollm2_engine.encode(conversation)
    expected = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=True)
    assert list(prompt.ids) == expected["input_ids"]
    assert prompt.text.endswith("<|im_start|>assistant\n")
    assert [prompt.text.count(m["content"]) for m in conversation] == [1, 1, 1, 1]


def test_a_last_assistant_message_is_continued(smollm2_engine: TransformersEngine) -> None:
    prompt = smollm2_engine.encode([*QUESTION, {"role": "assistant", "content": "First, you"}])
    assert prompt.text.endswith("First, you")


def test_a_template_without_a_system_role_refuses_the_context_in_a_sentence() -> None:
    context = Context("rules", "Be careful.", placement="system")
    with pytest.raises(CopsdError, match="place the constitution in the user turn"):
        encoder(NO_SYSTEM_ROLE)(QUESTION, context)
    user = Context("rules", "Be careful. {user_query}")
    assert "Be careful." in encoder(NO_SYSTEM_ROLE)(QUESTION, user).text


def test_a_template_that_drops_the_system_message_is_refused() -> None:
    with pytest.raises(CopsdError, match="drops or alters the context 'rules'"):
        encoder(BRACKETS)(QUESTION, Context("rules", "Be careful.", placement="system"))
    with pytest.raises(CopsdError, match="drops or alters the system message"):
        encoder(BRACKETS)([{"role": "system", "content": "Be kind."}, *QUESTION])


def test_a_tokenizer_without_a_template_is_refused_for_conversations_only() -> None:
    with pytest.raises(CopsdError, match="no chat template"):
        encoder(None)(QUESTION)
    assert encoder(None)("raw").text == "raw"


@pytest.mark.parametrize("placement", ["user", "system"])
def test_context_and_question_are_whole_in_the_prompt(smollm2_engine: TransformersEngine, placement: Any) -> None:
    constitution = load_constitution("default")
    prompt = smollm2_engine.encode(QUESTION, constitution.context(placement))
    text = smollm2_engine.tokenizer.decode(prompt.ids)
    assert constitution.body() in text
    assert "How do I bake bread?" in text
    inside = text.index("<|im_start|>" + ("user" if placement == "user" else "system"))
    assert inside < text.index(constitution.body()) < text.index("How do I bake bread?")
    assert prompt.ids != smollm2_engine.encode(QUESTION).ids


def test_a_question_that_names_the_slot_stays_whole(smollm2_engine: TransformersEngine) -> None:
    prompt = smollm2_engine.encode(
        [{"role": "user", "content": "What does {user_query} mean?"}], Context("c", "Rules. {user_query} End.")
    )
    assert "Rules. What does {user_query} mean? End." in prompt.text


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    conversation = [{"role": "user", "content": "x" * 100}]
    length = len(encoder(CHATML)(conversation).ids)
    assert encoder(CHATML, window=length + 1)(conversation)
    with pytest.raises(CopsdError, match=f"A prompt of {length} tokens leaves no room"):
        encoder(CHATML, window=length)(conversation)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(CopsdError, match="empty"):
        encoder(None, adds_bos=False)("")


def test_an_image_for_a_text_model_is_refused(tmp_path: Path) -> None:
    turn = [
        {"role": "user", "content": [{"type": "image", "image": tmp_path / "a.png"}, {"type": "text", "text": "?"}]}
    ]
    with pytest.raises(CopsdError, match="takes text only"):
        encoder(CHATML)(turn)
