"""`score` gives lm-eval's log-likelihoods, the number multiple-choice benchmarks are made of."""

from pathlib import Path

import pytest

from copsd_bench.engine.protocol import Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.sources.loader import load_records


def test_loglikelihoods_and_greedy_flags_are_those_of_lm_eval(smollm2: ResolvedModel, data_dir: Path) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    engine = TransformersEngine(smollm2.path, dtype="float32", batch_size=4)
    tokenizer = engine.tokenizer
    records = load_records("gsm8k").records[:3]
    contexts = [f"Question: {record['question']}\nAnswer:" for record in records]
    # Three real answers, and three beginnings of the model's own: greedy, unless their text is cut into other tokens.
    prompts = [Prompt(ids=tuple(tokenizer(context, add_special_tokens=False)["input_ids"])) for context in contexts]
    own = [completion.text for completion in engine.generate(View(), prompts, Sampling(max_tokens=6))]
    pairs = [
        (context, " " + record["answer"].splitlines()[0]) for context, record in zip(contexts, records, strict=True)
    ]
    pairs += list(zip(contexts, own, strict=True))

    peer = HFLM(pretrained=str(smollm2.path), dtype="float32", device="cpu", batch_size=2)
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    theirs = peer.loglikelihood(requests, disable_tqdm=True)

    completions = [tuple(tokenizer(c, add_special_tokens=False)["input_ids"]) for _, c in pairs]
    ours = engine.score(View(), [*prompts, *prompts], completions)
    for scores, (loglikelihood, is_greedy) in zip(ours, theirs, strict=True):
        assert sum(scores.logprobs) == pytest.approx(loglikelihood, abs=1e-4)
        assert all(scores.is_greedy) == is_greedy
    assert {is_greedy for _, is_greedy in theirs} == {True, False}
