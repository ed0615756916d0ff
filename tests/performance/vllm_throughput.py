"""Output tokens a second of bare `vllm.LLM.chat`, of our vLLM engine and of our provider on it, side by side.

    COPSD_DATA_DIR=... .venv-vllm/bin/python -m tests.performance.vllm_throughput [--dtype bfloat16] [--rounds 3]

The same 64 XSTest prompts x 64 new tokens, greedy, on the built-in model, with the same engine arguments. The sides
take turns in one process, so that a busy machine slows them alike; loading is not timed. Also printed: how many greedy
answers of each side equal those of bare vLLM.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from copsd_bench.engine.protocol import Sampling, View
from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.models.resolve import resolve_model
from copsd_bench.sources.loader import load_records

ITEMS, NEW_TOKENS, ROWS, KV_BYTES = 64, 64, 64, 2 << 30
Run = Callable[[], tuple[int, list[str]]]
"""Generates everything once; returns the number of new tokens and the answers."""


def bare(prompts: list[str], dtype: str) -> Run:
    """vLLM's own offline chat."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        str(resolve_model("smollm2-135m").path),
        dtype=dtype,
        enforce_eager=True,
        max_num_seqs=ROWS,
        kv_cache_memory_bytes=KV_BYTES,
        use_tqdm_on_load=False,
    )
    conversations: Any = [[{"role": "user", "content": prompt}] for prompt in prompts]

    def run() -> tuple[int, list[str]]:
        outputs = llm.chat(conversations, SamplingParams(temperature=0, max_tokens=NEW_TOKENS), use_tqdm=False)
        return sum(len(o.outputs[0].token_ids) for o in outputs), [o.outputs[0].text for o in outputs]

    return run


def engine(prompts: list[str], spec: EngineSpec) -> Run:
    """Our engine, chat template included, as `LLM.chat` does."""
    ours = load_worker(spec).engine

    def run() -> tuple[int, list[str]]:
        encoded = [ours.encode([{"role": "user", "content": prompt}]) for prompt in prompts]
        completions = ours.generate(View(), encoded, Sampling(max_tokens=NEW_TOKENS))
        return sum(len(c.ids) for c in completions), [c.text for c in completions]

    return run


def provider(prompts: list[str], spec: EngineSpec) -> Run:
    """Inspect's `eval` of the same prompts on the same engine, logs and all."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.solver import generate

    import copsd_bench._registry  # noqa: F401

    config = GenerateConfig(max_tokens=NEW_TOKENS, temperature=0)
    model = get_model(f"copsd/{spec.model}", config=config, **spec.model_args())
    samples = [Sample(id=i, input=prompt) for i, prompt in enumerate(prompts, 1)]
    task = Task(dataset=MemoryDataset(samples), solver=generate())
    logs = tempfile.TemporaryDirectory()

    def run() -> tuple[int, list[str]]:
        options: dict[str, Any] = {"display": "none", "log_dir": logs.name, "score": False}
        [log] = eval(task, model=model, max_connections=ROWS, **options)
        outputs = [sample.output for sample in log.samples or []]
        return sum(o.usage.output_tokens for o in outputs if o.usage), [o.completion for o in outputs]

    return run


def main() -> None:
    """Alternate the sides and print tokens a second and the ratios to bare vLLM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"  # bare vLLM prints pages; ours keeps them in a file
    prompts = [record["prompt"] for record in load_records("xstest").records][:ITEMS]
    spec = EngineSpec.from_model_args(
        "smollm2-135m",
        {"engine": "vllm", "dtype": options.dtype, "engine_args": {"kv_cache_memory_bytes": KV_BYTES}},
    )
    sides = {"bare": bare(prompts, options.dtype), "engine": engine(prompts, spec), "provider": provider(prompts, spec)}
    speed: dict[str, list[float]] = {name: [] for name in sides}
    answers: dict[str, list[str]] = {}
    for turn in range(options.rounds + 1):  # the first turn warms up
        for name, run in sides.items():
            started = time.perf_counter()
            tokens, answers[name] = run()
            seconds = time.perf_counter() - started
            if turn:
                speed[name].append(tokens / seconds)
                print(
                    f"round {turn} {name:9} {tokens:5} tokens {seconds:6.1f} s {tokens / seconds:6.0f} tokens/s",
                    flush=True,
                )
    for name in sides:
        ratio = statistics.median(a / b for a, b in zip(speed[name], speed["bare"], strict=True))
        same = sum(a == b for a, b in zip(answers[name], answers["bare"], strict=True))
        print(
            f"{name:9}{statistics.median(speed[name]):7.0f} tokens/s   {ratio:.2f} x bare   "
            f"{same}/{ITEMS} answers equal bare's"
        )


if __name__ == "__main__":
    main()
