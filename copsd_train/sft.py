"""Supervised fine-tuning on response tokens: encode, mini-batch, loop."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Prompt
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train import losses
from copsd_train.corpora.answers import stream
from copsd_train.corpora.schema import SftRow
from copsd_train.images import encoded, user_turn
from copsd_train.optimiser import Updater, not_finite
from copsd_train.policy import Policy
from copsd_train.recipe_parts import Sft
from copsd_train.rollouts import Metrics


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to learn, with the end-of-turn token if the answer is complete."""

    prompt: Prompt
    response: tuple[int, ...]


def build_examples(rows: Sequence[SftRow], engine: TransformersEngine, config: Sft) -> list[Example]:
    """Encode rows; those longer than `max_tokens` are left out.

    An answer that was cut at a token limit is learned without an end: it would teach to stop short.

    Raises:
        CopsdError: no row is left; or a step's `batch_tokens` hold less than one answer, or more than all of them.
    """
    encode = response_encoder(engine)
    examples = []
    for row in rows:
        context = load_constitution(row.context).context() if config.with_context and row.context else None
        prompt = encoded(engine, user_turn(row.prompt, row.image), context)
        response = encode(row.response, row.complete)
        if prompt.images and engine.placeholder in response:
            raise CopsdError(f"Row {row.id!r}: its response holds an image placeholder; take it out.", ExitCode.DATA)
        if len(prompt.ids) + len(response) <= min(config.max_tokens, engine.max_length):
            examples.append(Example(prompt, response))
    if not examples:
        raise CopsdError(
            f"None of the {len(rows)} examples fits into sft.max_tokens = {config.max_tokens}; raise it.",
            ExitCode.DATA,
        )
    tokens = [len(example.response) for example in examples]
    if config.batch_tokens is not None and not max(tokens) <= config.batch_tokens <= sum(tokens):
        raise CopsdError(
            f"A step of sft.batch_tokens = {config.batch_tokens} must hold the longest answer ({max(tokens)} tokens) "
            f"and no more than all {len(tokens)} ({sum(tokens)} tokens); change it (with run-all, the budget).",
            ExitCode.DATA,
        )
    return examples


def response_encoder(engine: TransformersEngine) -> Callable[[str, bool], tuple[int, ...]]:
    """Answer, and whether it is complete -> its token ids as the chat template would put them."""
    frames = {reasoned: answer_frame(engine, probe) for reasoned, probe in ((False, PROBE), (True, REASONED))}

    def encode(text: str, complete: bool) -> tuple[int, ...]:
        text = text.strip()
        prefix, end = frames[text.startswith("<think>")]
        ids = engine.tokenizer(prefix + text, add_special_tokens=False, verbose=False)["input_ids"]
        return (*ids, end) if complete else tuple(ids)

    return encode


PROBE = "PROBE"
REASONED = f"<think>\n{PROBE}\n</think>\n\n{PROBE}"
"""Answers that measure what a template puts around them; some put an empty `<think>` block before one without it."""


def answer_frame(engine: TransformersEngine, probe: str = PROBE) -> tuple[str, int]:
    """What the model's own chat template puts before an answer (often nothing, sometimes a space), and the token after.

    Nothing goes before an answer that the template does not leave whole, as those that drop a past turn's reasoning.
    The token is the first one there that ends generation, or the tokenizer's end of sequence if there is none.

    Args:
        engine: of the model.
        probe: the answer that is measured.
    """
    question = [{"role": "user", "content": "a"}]
    render = engine.encode_prompt.render
    before = render(question)
    whole = render([*question, {"role": "assistant", "content": probe}], closed=True)
    shown = probe if probe in whole else PROBE
    prefix, _, after = whole.removeprefix(before).rpartition(shown)
    ids = engine.tokenizer(after, add_special_tokens=False)["input_ids"]
    end = next((i for i in ids if i in engine.eos_ids), engine.tokenizer.eos_token_id)
    return (prefix if whole.startswith(before) and shown == probe else ""), int(end)


def update(examples: Sequence[Example], policy: Policy, updater: Updater, micro_batch_size: int) -> Metrics:
    """One optimiser update on a batch: mean over all its response tokens, accumulated exactly over micro-batches.

    Raises:
        CopsdError: the loss or the gradient is not finite; the weights are as they were.
    """
    ranks = updater.ranks
    tokens = sum(len(example.response) for example in examples)
    ordered = sorted(examples, key=lambda example: len(example.prompt.ids) + len(example.response))
    # Sharded weights need every process in every forward pass: one without rows left repeats one that does not count.
    passes = math.ceil(len(ordered) / ranks.size / micro_batch_size)
    mine = ordered[ranks.rank :: ranks.size]
    total = 0.0
    for at in range(0, passes * micro_batch_size, micro_batch_size):
        counted = mine[at : at + micro_batch_size]
        part = counted or ordered[:1]
        device = policy.engine.model.device
        lengths = torch.tensor([len(example.response) for example in part], device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths.unsqueeze(1)
        ids = torch.zeros(mask.shape, dtype=torch.long, device=device)
        ids[mask] = torch.tensor([i for example in part for i in example.response], device=device)
        mask &= bool(counted)

        def loss_of(states: torch.Tensor, head: losses.Head, ids: torch.Tensor = ids) -> torch.Tensor:
            return -losses.chunked_logprobs(states, head, ids)

        with policy.training():
            per_token = policy.model([e.prompt for e in part], [e.response for e in part], loss_of)
            loss = losses.token_mean(per_token, mask, tokens)
            loss.backward()
        updater.accumulate()
        total += loss.item()
    [total] = ranks.sum_numbers([total])
    if not math.isfinite(total):
        raise not_finite("loss")
    return {"loss": total, "tokens": float(tokens), **updater.update()}


def loop(
    examples: Sequence[Example], policy: Policy, updater: Updater, config: Sft, seed: int, start: int
) -> Iterator[tuple[int, Metrics]]:
    """Step after step from `start`, each with its metrics.

    Raises:
        CopsdError: a loss is not finite (which step).
    """
    tokens = [len(example.response) for example in examples]
    steps = batches(tokens, config.batch_size, config.batch_tokens, seed, "sft")
    for number, chosen in enumerate(itertools.islice(steps, start, total_steps(config, len(examples))), start):
        began = time.perf_counter()
        updater.ranks.seed(seed, "sft", number)
        try:
            metrics = update([examples[i] for i in chosen], policy, updater, config.micro_batch_size)
        except CopsdError as error:
            raise CopsdError(f"Step {number + 1}: {error}", error.code) from error
        metrics["time/tokens_per_second"] = metrics["tokens"] / (time.perf_counter() - began)
        yield number + 1, metrics


def batches(
    tokens: Sequence[int], batch_size: int, batch_tokens: int | None, seed: int, stage: str
) -> Iterator[list[int]]:
    """Indices of each step's rows without end: a new order each epoch, whose last batch may be smaller.

    Args:
        tokens: answer tokens of each row.
        batch_size: rows a step, unless
        batch_tokens: is the most answer tokens of a step.
        seed, stage: decide the order.
    """

    def full(batch: list[int], another: int) -> bool:
        if batch_tokens is None:
            return len(batch) == batch_size
        return sum(tokens[i] for i in (*batch, another)) > batch_tokens

    for epoch in itertools.count():
        order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(stream(seed, stage, epoch)))
        batch: list[int] = []
        for i in order.tolist():
            if batch and full(batch, i):
                yield batch
                batch = []
            batch.append(i)
        yield batch


def total_steps(config: Sft, examples: int) -> int:
    """Steps of the stage: as said, or that pass over every example as often as there are epochs."""
    return config.steps or config.epochs * math.ceil(examples / config.batch_size)
