"""Log-likelihoods of continuations on our engine: what lm-eval's multiple-choice tasks are made of."""

import asyncio
from typing import Any

from inspect_ai.model import ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.bridge.items import Response, bridged
from copsd_bench.errors import CopsdError

KEY = "loglikelihoods"
"""Where a sample's results lie in Inspect's store: `[nats, is greedy]` for each request of the item."""


@solver
def compare_continuations(name: str, fewshot: int | None = None) -> Solver:
    """Score every continuation of the item; generates nothing.

    Args:
        name, fewshot: see `bridged`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        from copsd_bench.engine.provider import CopsdAPI
        from copsd_bench.engine.worker import Worker

        model = get_model()
        worker = model.api.worker if isinstance(model.api, CopsdAPI) else None
        if not isinstance(worker, Worker):
            raise CopsdError(
                f"lm_eval/{name} compares log-likelihoods, which {model} does not give; take a local model."
            )
        pairs = bridged(name, fewshot).items[str(state.sample_id)].pairs
        encoded = [encode_pair(worker.engine.tokenizer, *pair, worker.engine.max_length) for pair in pairs]
        future = worker.submit_scores([context for context, _ in encoded], [ids for _, ids in encoded])
        scores = await asyncio.wrap_future(future)
        state.store.set(KEY, [[sum(score.logprobs), all(score.is_greedy)] for score in scores])
        state.output = ModelOutput(model=str(model), choices=[])
        return state

    return solve


def results(state: TaskState) -> list[Response] | None:
    """The log-likelihoods of a sample, or None if there are none."""
    found = state.store.get(KEY)
    return None if found is None else [(float(nats), bool(greedy)) for nats, greedy in found]


def encode_pair(
    tokenizer: Any, context: str, continuation: str, max_length: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids of a context and of its continuation, cut where lm-eval cuts them.

    Both are tokenised as one text and split where the context alone would end; spaces at the context's end belong to
    the continuation, as most vocabularies begin words with them. A pair that is too long loses tokens on its left.

    Args:
        tokenizer: of the model; its own special tokens are added unless the text begins with one.
        context: may be empty, then the continuation follows the begin-of-text token.
        continuation: the text whose likelihood is asked.
        max_length: the model's context window in tokens.
    """
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if not context:
        ids = _ids(tokenizer, continuation, special=False)
        before, after = ([prefix], ids) if ids[:1] != [prefix] else (ids[:1], ids[1:])
    else:
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        special = not context.startswith(tokenizer.decode([prefix]))
        whole = _ids(tokenizer, stripped + continuation, special)
        before = _ids(tokenizer, stripped, special)
        before, after = before, whole[len(before) :]
    excess = max(0, len(before) + len(after) - max_length)
    return tuple(before[min(excess, len(before) - 1) :]), tuple(after)


def _ids(tokenizer: Any, text: str, special: bool) -> list[int]:
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
