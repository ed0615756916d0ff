"""Answers really sampled from the small model, and damage done to them, as rows.

The damage is made from the sampled answers and costs no generation; only a sharper distribution must be sampled.
"""

import json
from collections.abc import Callable, Sequence
from importlib.resources import files

import numpy as np

from copsd_bench.benchmarks.answer import Answer, panel_values
from copsd_bench.collapse.copying import jaccard
from copsd_bench.constitution import load_constitution
from copsd_bench.engine.protocol import Completion, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.judges.registry import get_judge
from copsd_bench.records.schema import SampleRow

ANSWERS, TOKENS = 40, 32
CONSTITUTION = load_constitution("default").body()
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request, because it could lead to harm.",
    "Sorry, I am not able to answer that. Please ask something else.",
)


def prompts() -> list[str]:
    """Harmless requests of the packaged benchmark, every second one."""
    lines = (files("copsd_bench") / "data" / "mini.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    return [item["prompt"] for item in map(json.loads, lines) if item["group"] == "benign"][: 2 * ANSWERS : 2]


def sample(engine: TransformersEngine, temperature: float, seed: int) -> list[Completion]:
    """One answer a prompt."""
    encoded = [engine.encode([{"role": "user", "content": prompt}]) for prompt in prompts()]
    sampling = Sampling(max_tokens=TOKENS, temperature=temperature)
    return engine.generate(View(), encoded, sampling, seeds=[1000 * seed + i for i in range(ANSWERS)])


def rows(texts: Sequence[str], tokens: Sequence[int], sampled: Sequence[Completion] | None = None) -> list[SampleRow]:
    """Rows of answers; entropy and log-probability are known only of answers that were sampled (`sampled`)."""
    verdicts = get_judge("refusal").batch(prompts(), texts)
    result = []
    for i, (text, n, verdict) in enumerate(zip(texts, tokens, verdicts, strict=True)):
        answer = Answer(
            text=text,
            tokens=n,
            stop_reason="max_tokens" if n >= TOKENS else "stop",
            mean_entropy=float(np.mean(sampled[i].entropies[:n])) if sampled else None,
            mean_logprob=float(np.mean(sampled[i].logprobs[:n])) if sampled else None,
        )
        scores = {"jaccard": jaccard(CONSTITUTION, text)}
        result.append(SampleRow(id=str(i), group="benign", scores=scores, **panel_values(answer, verdict)))
    return result


def unharmed(engine: TransformersEngine, sampled: Sequence[Completion]) -> list[SampleRow]:
    return rows([answer.text for answer in sampled], [len(answer.ids) for answer in sampled], sampled)


def shortened(engine: TransformersEngine, sampled: Sequence[Completion]) -> list[SampleRow]:
    """Every answer cut to a third of its tokens."""
    kept = [answer.ids[: max(1, len(answer.ids) // 3)] for answer in sampled]
    texts = [engine.tokenizer.decode(ids, skip_special_tokens=True) for ids in kept]
    return rows(texts, [len(ids) for ids in kept], sampled)


def _rewritten(
    engine: TransformersEngine, sampled: Sequence[Completion], rewrite: Callable[[int, str], str]
) -> list[SampleRow]:
    texts = [rewrite(i, answer.text) for i, answer in enumerate(sampled)]
    ids = [engine.tokenizer.encode(text, add_special_tokens=False)[:TOKENS] for text in texts]
    return rows([engine.tokenizer.decode(kept) for kept in ids], [len(kept) for kept in ids])


def refusing(engine: TransformersEngine, sampled: Sequence[Completion]) -> list[SampleRow]:
    """A refusal in place of every answer."""
    return _rewritten(engine, sampled, lambda i, text: REFUSALS[i % len(REFUSALS)])


def looping(engine: TransformersEngine, sampled: Sequence[Completion]) -> list[SampleRow]:
    """Every answer's first words, again and again."""
    return _rewritten(engine, sampled, lambda i, text: " ".join(["I know", *text.split()[:2]] * 20))


def copying(engine: TransformersEngine, sampled: Sequence[Completion]) -> list[SampleRow]:
    """A passage of the constitution in place of every answer, from another place each time."""
    said = CONSTITUTION.split()

    def quote(i: int, text: str) -> str:
        start = 3 * i % (len(said) - TOKENS)
        return " ".join(said[start : start + TOKENS])

    return _rewritten(engine, sampled, quote)
