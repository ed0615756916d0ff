"""The worker thread: whoever waits gets an answer, whatever became of the others."""

from pathlib import Path

from copsd_bench.engine.protocol import Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.worker import Worker


def test_cancelled_requests_in_the_queue_do_not_hold_up_those_behind_them(tiny_llama: Path) -> None:
    worker = Worker(TransformersEngine(tiny_llama, batch_size=1), View())
    prompts = [worker.engine.encode("a" * length) for length in (3, 9, 12)]
    futures = [worker.submit(prompt, Sampling(max_tokens=2), seed=0) for prompt in prompts]
    for longer in futures[1:]:  # they are taken first
        longer.cancel()
    assert 1 <= len(futures[0].result(timeout=20).ids) <= 2
