"""lm-eval's evaluator over models of ours: answers chosen by a function, and log-likelihoods by another."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.models.utils import postprocess_generated_text

from copsd_bench.benchmarks.bridge.load import load_leaves
from tests.peers.replay import Messages


class ChosenLM(LM):
    """An lm-eval model that gives `answer(last message)` and `likelihood(context, continuation)`.

    Its chat template writes messages as JSON, so that what lm-eval sends can be read again (`sent`).
    """

    tokenizer_name = "json"

    def __init__(
        self,
        answer: Callable[[str], str] | None = None,
        likelihood: Callable[[str, str], tuple[float, bool]] | None = None,
    ) -> None:
        super().__init__()
        self.answer, self.likelihood = answer, likelihood
        self.sent: list[Messages] = []

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return json.dumps([(message["role"], message["content"]) for message in chat_history])

    def chat_template(self, chat_template: bool | str = False) -> str:
        return "json"

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        assert self.answer is not None
        replies = []
        for request in requests:
            messages = [(role, text) for role, text in json.loads(request.args[0])]
            self.sent.append(messages)
            replies.append(postprocess_generated_text(self.answer(messages[-1][1]), request.args[1]["until"], None))
        return replies

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        assert self.likelihood is not None
        return [self.likelihood(*request.args) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        # Abstract in lm-eval; perplexities are no task of ours.
        raise NotImplementedError


def lm_eval_verdicts(
    name: str, model: LM, limit: int, chat: bool, max_tokens: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's own run of a name on the first `limit` documents of each of its tasks: logged samples by task."""
    leaves = load_leaves(name)
    for task in leaves.tasks.values():
        if max_tokens is not None:
            task.set_config("generation_kwargs", {"max_gen_toks": max_tokens}, update=True)
    results = evaluate(
        lm=model, task_dict={"tasks": leaves.tasks}, limit=limit, apply_chat_template=chat, fewshot_as_multiturn=True,
        bootstrap_iters=0, log_samples=True,
    )  # fmt: skip
    samples: dict[str, list[dict[str, Any]]] = results["samples"]
    return samples


def forms_of(gold: Sequence[str], forms: Sequence[str]) -> list[str]:
    """Answers of every shape: form after form, with the gold answer in its slot `{x}`."""
    return [forms[i % len(forms)].replace("{x}", x) for i, x in enumerate(gold)]
