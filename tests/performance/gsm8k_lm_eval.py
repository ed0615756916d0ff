"""Output tokens a second of lm-eval's `hf` backend and of our provider on GSM8K, side by side in one run.

    COPSD_DATA_DIR=... python -m tests.performance.gsm8k_lm_eval [--dtype bfloat16] [--fewshot 0] [--rounds 2]

The first 32 test problems, after the few-shot text of our task if it is asked for (slow on a CPU: 1,200 tokens a prompt
at 5), greedy, 64 new tokens, batches of 32, on the built-in model. Both sides get the same prompts, the chat template
applied (by us through Inspect's `eval` with its logs; lm-eval is handed the rendered text and asked by
`HFLM.generate_until`). Each side runs in a fresh process, in alternation; loading and a warm-up are not timed. Tokens
are counted by tokenising the answers, for both alike. Also printed: how many answers are the same, and the load.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from typing import Any

from tests.performance.fresh import fresh

ITEMS, NEW_TOKENS, ROWS = 32, 64, 32
SIDES = ("lm-eval", "copsd")


def measure(side: str, dtype: str, fewshot: int) -> dict[str, Any]:
    """One side, in this process: tokens a second, prompt tokens and the answers."""
    from transformers import AutoTokenizer

    from copsd_bench.models.resolve import resolve_model

    path = str(resolve_model("smollm2-135m").path)
    run = copsd(dtype, fewshot) if side == "copsd" else lm_eval(path, dtype, fewshot)
    run(2, 4)  # warm-up
    started = time.perf_counter()
    answers, prompt_tokens = run(ITEMS, NEW_TOKENS)
    seconds = time.perf_counter() - started
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokens = sum(len(ids) for ids in tokenizer(answers, add_special_tokens=False)["input_ids"])
    return {
        "tokens": tokens,
        "prompt_tokens": prompt_tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "load": os.getloadavg()[0],
        "answers": answers,
    }


def copsd(dtype: str, fewshot: int) -> Any:
    """Our task through Inspect's `eval` on our provider."""
    from inspect_ai import eval
    from inspect_ai.model import get_model

    import copsd_bench._registry  # noqa: F401
    from copsd_bench.benchmarks.text.gsm8k import gsm8k

    model = get_model("copsd/smollm2-135m", dtype=dtype, batch_size=ROWS)
    logs = tempfile.TemporaryDirectory()

    def run(limit: int, new_tokens: int) -> tuple[list[str], int]:
        task = gsm8k(fewshot=fewshot)
        [log] = eval(
            task, model=model, limit=limit, max_tokens=new_tokens, max_connections=ROWS, log_dir=logs.name,
            display="none", score=False,
        )  # fmt: skip
        outputs = {sample.id: sample.output for sample in log.samples or []}
        answers = [outputs[sample.id].completion for sample in list(task.dataset)[:limit] if sample.id]
        return answers, sum(output.usage.input_tokens for output in outputs.values() if output.usage)

    return run


def lm_eval(path: str, dtype: str, fewshot: int) -> Any:
    """lm-eval's own batching and generation on the same rendered prompts."""
    from inspect_evals.gsm8k.gsm8k import MATH_PROMPT_TEMPLATE
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from copsd_bench.benchmarks.text.gsm8k import few_shot_text, gsm8k

    model = HFLM(pretrained=path, dtype=dtype, device="cpu", batch_size=ROWS)
    system = few_shot_text(fewshot).replace("{{", "{").replace("}}", "}")
    prompts = []
    for sample in list(gsm8k(fewshot=0).dataset)[:ITEMS]:
        question = MATH_PROMPT_TEMPLATE.replace("{prompt}", str(sample.input))
        messages = [{"role": "system", "content": system}] if fewshot else []
        prompts.append(model.apply_chat_template([*messages, {"role": "user", "content": question}]))

    def run(limit: int, new_tokens: int) -> tuple[list[str], int]:
        options = {"until": [], "max_gen_toks": new_tokens, "do_sample": False}
        requests = [Instance("generate_until", {}, (prompt, options), i) for i, prompt in enumerate(prompts[:limit])]
        answers = model.generate_until(requests, disable_tqdm=True)
        return answers, sum(len(model.tok_encode(prompt)) for prompt in prompts[:limit])

    return run


def main() -> None:
    """Alternate the sides and print each figure and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--fewshot", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.dtype, options.fewshot)))
        return
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for turn in range(options.rounds):
        for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
            arguments = {"side": side, "dtype": options.dtype, "fewshot": options.fewshot}
            results[side].append(fresh("gsm8k_lm_eval", arguments))
            shown = {k: round(v, 1) for k, v in results[side][-1].items() if k != "answers"}
            print(side, shown, flush=True)
    theirs, ours = (results[side] for side in SIDES)
    if ours[0]["prompt_tokens"] != theirs[0]["prompt_tokens"]:
        sys.exit("The sides were given different prompts.")
    speed = {side: statistics.median(r["tokens_per_second"] for r in results[side]) for side in SIDES}
    same = sum(a == b for a, b in zip(ours[0]["answers"], theirs[0]["answers"], strict=True))
    for side in SIDES:
        print(f"{side:8}{speed[side]:8.1f} tokens/s")
    print(f"ratio   {speed['copsd'] / speed['lm-eval']:8.2f}   {same}/{ITEMS} answers equal")


if __name__ == "__main__":
    main()
