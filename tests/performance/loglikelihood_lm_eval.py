"""Multiple choice by log-likelihoods: items a second of lm-eval's `hf` backend and of our engine, side by side.

    COPSD_DATA_DIR=... python -m tests.performance.loglikelihood_lm_eval [--dtype bfloat16] [--rounds 2] [--items 128]

The first items of `arc_challenge`, `truthfulqa_mc1` and `mmlu_anatomy` (0 and 5 worked examples) on the built-in model,
both sides on lm-eval's own requests: we through Inspect's `eval` with its logs, as `copsd-bench run` does (passes of at
most 2048 tokens), lm-eval by `HFLM.loglikelihood` with batches of 32. Each side runs in a fresh process, in turn;
loading and a warm-up are not timed. Also printed: on how many items both choose alike.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.performance.fresh import fresh

TASKS: tuple[tuple[str, int | None], ...] = (
    ("arc_challenge", None), ("truthfulqa_mc1", None), ("mmlu_anatomy", None), ("mmlu_anatomy", 5)
)  # fmt: skip
SIDES = ("lm-eval", "copsd")
ROWS, WARM_UP = 32, 4
Run = Callable[[str, int | None, int], list[list[float]]]


def measure(side: str, dtype: str, items: int) -> dict[str, Any]:
    """One side, in this process: items a second and log-likelihoods of each task."""
    run = copsd(dtype) if side == "copsd" else lm_eval(dtype)
    figures: dict[str, Any] = {"load": os.getloadavg()[0]}
    for name, fewshot in TASKS:
        run(name, fewshot, WARM_UP)
        started = time.perf_counter()
        nats = run(name, fewshot, items)
        seconds = time.perf_counter() - started
        figures[label(name, fewshot)] = {"items_per_second": len(nats) / seconds, "nats": nats}
    return figures


def label(name: str, fewshot: int | None) -> str:
    """As on the command line."""
    return name if fewshot is None else f"{name}@{fewshot}"


def copsd(dtype: str) -> Run:
    """Our task through Inspect's `eval` on our provider."""
    from inspect_ai import eval
    from inspect_ai.model import get_model

    import copsd_bench._registry  # noqa: F401
    from copsd_bench.benchmarks.bridge.items import bridged
    from copsd_bench.benchmarks.bridge.loglikelihood import KEY
    from copsd_bench.benchmarks.bridge.task import lm_eval as task

    model = get_model("copsd/smollm2-135m", dtype=dtype)
    connections = model.api.max_connections()
    logs = tempfile.TemporaryDirectory()

    def run(name: str, fewshot: int | None, items: int) -> list[list[float]]:
        [log] = eval(
            task(name, fewshot),
            model=model,
            limit=items,
            max_connections=connections,
            log_dir=logs.name,
            display="none",
            log_realtime=False,  # as `copsd-bench run` has it
        )
        samples = {str(sample.id): sample for sample in log.samples or []}
        return [[nats for nats, _ in samples[i].store[KEY]] for i in bridged(name, fewshot).items if i in samples]

    for name, fewshot in TASKS:  # documents and prompts are built once a process
        bridged(name, fewshot)
    return run


def lm_eval(dtype: str) -> Run:
    """lm-eval's own batching on the same requests."""
    from lm_eval.models.huggingface import HFLM

    from copsd_bench.benchmarks.bridge.items import bridged
    from copsd_bench.models.resolve import resolve_model

    model = HFLM(pretrained=str(resolve_model("smollm2-135m").path), dtype=dtype, device="cpu", batch_size=ROWS)

    def run(name: str, fewshot: int | None, items: int) -> list[list[float]]:
        chosen = list(bridged(name, fewshot).items.values())[:items]
        requests = [request for item in chosen for request in item.requests]
        results = iter(model.loglikelihood(requests, disable_tqdm=True))
        return [[next(results)[0] for _ in item.requests] for item in chosen]

    for name, fewshot in TASKS:
        bridged(name, fewshot)
    return run


def main() -> None:
    """Alternate the sides and print each figure and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.dtype, options.items)))
        return
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for turn in range(options.rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            arguments = {"side": side, "dtype": options.dtype, "items": options.items}
            results[side].append(fresh("loglikelihood_lm_eval", arguments))
    theirs, ours = (results[side] for side in SIDES)
    print(f"{'task':16}{'lm-eval':>10}{'copsd':>10}{'ratio':>8}   same choice   (items/s, {options.dtype})")
    for name in (label(*task) for task in TASKS):
        speed = [statistics.median(r[name]["items_per_second"] for r in side) for side in (theirs, ours)]
        pairs = list(zip(theirs[0][name]["nats"], ours[0][name]["nats"], strict=True))
        same = sum(a.index(max(a)) == b.index(max(b)) for a, b in pairs)
        print(f"{name:16}{speed[0]:10.1f}{speed[1]:10.1f}{speed[1] / speed[0]:8.2f}   {same}/{len(pairs)}")


if __name__ == "__main__":
    main()
