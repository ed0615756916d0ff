"""Supervised fine-tuning: the loss is transformers' own on response tokens, whatever the batching."""

from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.encode import Encoder
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train import sft
from copsd_train.corpora.schema import SftRow
from copsd_train.load_recipe import load_recipe
from copsd_train.optimiser import Updater, schedule
from copsd_train.policy import Policy
from copsd_train.recipe_parts import Optimiser, Sft
from tests.engine.tiny import byte_tokenizer
from tests.train.conftest import SMALL

ROWS = [
    SftRow(id="a", prompt="Hurt him?", context="violence", response="No.", kind="safety"),
    SftRow(id="b", prompt="Why blue?", response="Light scatters.", kind="general"),
    SftRow(id="c", prompt="Kill weeds?", context="default", response="Boil water, then pour it.", kind="over_refusal"),
]
CONFIG = Sft(
    adapter="student", data="x", with_context=True, epochs=2, batch_size=3, micro_batch_size=2, max_tokens=4000,
    optimiser=Optimiser(lr=0.01),
)  # fmt: skip


def prepared(base: ResolvedModel) -> tuple[Policy, Updater]:
    policy = Policy(base, load_recipe("sft", [c for c in SMALL if not c.startswith("distill")]))
    return policy, Updater(policy.parameters(), CONFIG.optimiser, 10)


def test_the_loss_is_that_of_transformers_on_response_tokens(tiny: ResolvedModel) -> None:
    policy, updater = prepared(tiny)
    examples = sft.build_examples(ROWS, policy.engine, CONFIG)
    total, count = 0.0, 0
    for example in examples:
        ids = torch.tensor([[*example.prompt.ids, *example.response]])
        labels = ids.clone()
        labels[0, : len(example.prompt.ids)] = -100
        with torch.no_grad():
            mean = policy.engine.model(input_ids=ids, labels=labels).loss
        total, count = total + float(mean) * len(example.response), count + len(example.response)
    assert sft.update(examples, policy, updater, micro_batch_size=2)["loss"] == pytest.approx(total / count, abs=1e-5)


def test_the_update_does_not_depend_on_the_size_of_micro_batches(tiny: ResolvedModel) -> None:
    results = []
    for size in (1, 2, 3):
        policy, updater = prepared(tiny)
        sft.update(sft.build_examples(ROWS, policy.engine, CONFIG), policy, updater, size)
        results.append(torch.cat([value.flatten() for value in updater.masters.values()]))
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert torch.allclose(results[0], results[2], atol=1e-6)


def test_training_lowers_the_loss_and_every_epoch_sees_every_row(tiny: ResolvedModel) -> None:
    policy, updater = prepared(tiny)
    examples = sft.build_examples(ROWS, policy.engine, CONFIG)
    config = CONFIG.model_copy(update={"epochs": 10, "batch_size": 2})
    seen = [metrics for _, metrics in sft.loop(examples, policy, updater, config, seed=0, start=0)]
    tokens = sum(len(example.response) for example in examples)
    assert len(seen) == 20
    assert seen[0]["tokens"] + seen[1]["tokens"] == tokens
    assert sum(m["loss"] for m in seen[-2:]) < 0.7 * sum(m["loss"] for m in seen[:2])


def test_dropout_of_a_step_does_not_depend_on_what_was_drawn_before(tiny: ResolvedModel) -> None:
    """So that a resumed run equals an uninterrupted one on any device and in any number of processes."""
    recipe = load_recipe("sft", [*(c for c in SMALL if not c.startswith("distill")), "lora.dropout=0.5"])
    weights = []
    for drawn in (1, 2):
        policy = Policy(tiny, recipe)
        updater = Updater(policy.parameters(), CONFIG.optimiser, 10)
        torch.manual_seed(drawn)
        list(sft.loop(sft.build_examples(ROWS, policy.engine, CONFIG), policy, updater, CONFIG, seed=0, start=0))
        weights.append(torch.cat([value.flatten() for value in updater.masters.values()]))
    assert torch.equal(*weights)


def test_the_context_is_in_the_prompt_only_where_asked(tiny: ResolvedModel) -> None:
    engine = prepared(tiny)[0].engine
    told = sft.build_examples(ROWS, engine, CONFIG)
    plain = sft.build_examples(ROWS, engine, CONFIG.model_copy(update={"with_context": False}))
    assert "think silently" in told[0].prompt.text
    assert "think silently" not in plain[0].prompt.text
    assert told[1].prompt.ids == plain[1].prompt.ids
    assert all(example.response[-1] in engine.eos_ids for example in told)


def test_an_answer_that_was_cut_does_not_teach_where_to_end(tiny: ResolvedModel) -> None:
    engine = prepared(tiny)[0].engine
    whole = sft.build_examples(ROWS, engine, CONFIG)
    cut = sft.build_examples([row.model_copy(update={"complete": False}) for row in ROWS], engine, CONFIG)
    assert [example.response for example in cut] == [example.response[:-1] for example in whole]


@pytest.mark.parametrize(
    ("family", "end"),
    [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("gemma", "<end_of_turn>"), ("mistral", "<eos>")],
)
def test_prompt_and_answer_are_the_tokens_of_the_whole_conversation(
    tiny: ResolvedModel, tmp_path: Path, family: str, end: str
) -> None:
    """With and without a context: the tokens learned begin the template's own rendering, up to the end of the turn."""
    tokenizer = byte_tokenizer((Path(__file__).parent / "templates" / f"{family}.jinja").read_text())
    tokenizer.add_special_tokens({"additional_special_tokens": [end, "[INST]", "[/INST]"]})
    engine = copy(prepared(tiny)[0].engine)
    engine.tokenizer = tokenizer
    engine.encode_prompt = Encoder(tokenizer, None, 4096)
    engine.eos_ids = frozenset({tokenizer.convert_tokens_to_ids(end)})
    for row, example in zip(ROWS, sft.build_examples(ROWS, engine, CONFIG), strict=True):
        question: list[dict[str, Any]] = [{"role": "user", "content": row.prompt}]
        messages = load_constitution(row.context).context().apply(question) if row.context else question
        answered = [*messages, {"role": "assistant", "content": row.response}]
        whole = tokenizer.apply_chat_template(answered, tokenize=False)
        ids = tuple(tokenizer(whole, add_special_tokens=False)["input_ids"])
        learned = (*example.prompt.ids, *example.response)
        assert ids[: len(learned)] == learned
        assert tokenizer.decode(example.response).strip() == f"{row.response}{end}"


def test_reasoning_stands_once_whoever_writes_its_tags(tiny: ResolvedModel) -> None:
    """A template that puts an empty block before an answer without reasoning leaves one with its own as it is."""
    end = "<|im_end|>"
    tokenizer = byte_tokenizer((Path(__file__).parent / "templates" / "thinking.jinja").read_text())
    tokenizer.add_special_tokens({"additional_special_tokens": [end]})
    engine = copy(prepared(tiny)[0].engine)
    engine.tokenizer, engine.encode_prompt = tokenizer, Encoder(tokenizer, None, 4096)
    engine.eos_ids = frozenset({tokenizer.convert_tokens_to_ids(end)})
    for response in ("Paris.", "<think>\nA capital, then.\n</think>\n\nParis."):
        [example] = sft.build_examples([ROWS[0].model_copy(update={"response": response})], engine, CONFIG)
        answered = [{"role": "user", "content": "a"}, {"role": "assistant", "content": response}]
        whole = str(tokenizer.apply_chat_template(answered, tokenize=False))
        assert tokenizer.decode(example.response) == whole.partition("<|im_start|>assistant\n")[2].rstrip("\n")


def test_rows_that_do_not_fit_are_left_out_and_none_left_is_an_error(tiny: ResolvedModel) -> None:
    engine = prepared(tiny)[0].engine
    assert len(sft.build_examples(ROWS, engine, CONFIG.model_copy(update={"max_tokens": 60}))) == 1
    with pytest.raises(CopsdError, match=r"None of the 3 examples fits into sft.max_tokens = 5"):
        sft.build_examples(ROWS, engine, CONFIG.model_copy(update={"max_tokens": 5}))


def test_the_schedule_warms_up_and_falls_to_zero() -> None:
    config = Optimiser(lr=1.0, warmup=0.1, schedule="cosine")
    rates = [schedule(i, 100, config) for i in range(101)]
    assert rates[0] > 0
    assert rates.index(max(rates)) == 10
    assert rates[10] == 1.0
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert schedule(99, 100, config.model_copy(update={"schedule": "constant"})) == 1.0
