"""Peak memory of exact divergences with all logits at once and of ours, at two lengths, side by side.

    python -m tests.performance.kl_memory [--dtype float32] [--short 128] [--long 1024]

Eight random completions after one prompt, on the built-in model, without and with the default constitution. Each
measurement runs in a fresh process: its peak resident memory minus what the loaded model took (one warm-up row
included). The naive side holds the logits of both sides for all positions of all rows, as one would write it at first.
Ours grows with the hidden states and the KV cache until a batch is full (`STATE_TOKENS`), and not beyond.
"""

import argparse
import json
import resource
from collections.abc import Sequence

from tests.performance.fresh import fresh

ROWS = 8
SIDES = ("naive", "chunked")


def measure(side: str, length: int, dtype: str) -> dict[str, float]:
    """One side at one length, in this process: MB above the loaded model, seconds, and the mean divergence."""
    import time

    import torch

    from copsd_bench.constitution import load_constitution
    from copsd_bench.engine.divergence import Side
    from copsd_bench.engine.protocol import View
    from copsd_bench.engine.transformers_engine import TransformersEngine
    from copsd_bench.models.resolve import resolve_model

    engine = TransformersEngine(resolve_model("smollm2-135m").path, dtype=dtype)
    question = [{"role": "user", "content": "How do tides work?"}]
    prompts = [engine.encode(question), engine.encode(question, load_constitution("default").context())]
    generator = torch.Generator().manual_seed(0)
    completions = torch.randint(1000, 40000, (ROWS, length), generator=generator).tolist()
    divergences = naive if side == "naive" else ours
    divergences(*(Side(engine, View(), [prompt]) for prompt in prompts), [completions[0][:2]])
    before, started = _peak(), time.perf_counter()
    mean = divergences(*(Side(engine, View(), [prompt] * ROWS) for prompt in prompts), completions)
    return {"mb": _peak() - before, "seconds": time.perf_counter() - started, "mean_kl": mean}


def ours(model: "Side", reference: "Side", completions: Sequence[Sequence[int]]) -> float:  # noqa: F821
    """Mean KL(model || reference) by the engine."""
    from copsd_bench.engine.divergence import divergences

    found = divergences(model, reference, completions)
    return sum(sum(one.kl_model_reference) for one in found) / sum(map(len, completions))


def naive(model: "Side", reference: "Side", completions: Sequence[Sequence[int]]) -> float:  # noqa: F821
    """The same from one forward pass a side over all rows, with all logits in memory."""
    import torch

    logprobs = []
    with torch.inference_mode():
        for side in (model, reference):
            length = len(completions[0])
            ids = torch.tensor([[*p.ids, *c] for p, c in zip(side.prompts, completions, strict=True)])
            output = side.engine.model(input_ids=ids, use_cache=False, logits_to_keep=length + 1)
            logprobs.append(output.logits[:, :-1].float().log_softmax(dim=-1))
        ours, theirs = logprobs
        return float((ours.exp() * (ours - theirs)).sum(dim=-1).mean())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print each figure and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--short", type=int, default=128)
    parser.add_argument("--long", type=int, default=1024)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.long, options.dtype)))
        return
    print(f"{'MB above the model':20}" + "".join(f"{n:>8} tokens" for n in (options.short, options.long)) + "   ratio")
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for side in SIDES:
        for length in (options.short, options.long):
            found[side].append(fresh("kl_memory", {"side": side, "long": length, "dtype": options.dtype}))
        short, long = (one["mb"] for one in found[side])
        print(f"{side:20}{short:>15.0f}{long:>15.0f}{long / max(short, 1):8.1f}", flush=True)
    for k, length in enumerate((options.short, options.long)):
        one, two = (found[side][k] for side in SIDES)
        print(
            f"{ROWS} x {length} tokens: naive / chunked memory {one['mb'] / max(two['mb'], 1):.1f}, seconds "
            f"{one['seconds']:.1f} and {two['seconds']:.1f}, mean KL {one['mean_kl']:.5f} and {two['mean_kl']:.5f}"
        )


if __name__ == "__main__":
    main()
