"""What the bridge to lm-eval cannot do it says in one sentence, before anything is generated."""

from pathlib import Path
from typing import Any

import pytest

from copsd_bench.benchmarks.bridge.loglikelihood import encode_pair
from copsd_bench.benchmarks.bridge.task import lm_eval
from copsd_bench.config import RunConfig
from copsd_bench.errors import CopsdError
from copsd_bench.replay import plan_responses
from copsd_bench.run import plan
from copsd_bench.suites import make_task, tasks_of


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lm_eval/arc_chalenge", "Unknown lm-eval task 'arc_chalenge'; did you mean 'arc_challenge'"),
        ("lm_eval/arc_challenge@five", "after @ comes the number of worked examples"),
        ("lm_eval/arc_challenge@5", "takes worked examples from a split that is not at hand"),
        ("lm_eval/gsm8k_cot_self_consistency", "needs several answers to each item"),
        ("lm_eval/winogrande", "needs the hub's allenai/winogrande, which is not pinned"),
    ],
)
def test_what_cannot_be_run_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str) -> None:
    monkeypatch.setattr("copsd_bench.hub.is_reachable", lambda: False)
    monkeypatch.setattr("copsd_bench.hub.is_offline", lambda: False)
    with pytest.raises(CopsdError, match=sentence) as caught:
        make_task(tasks_of(None, [name])[0])
    assert "\n" not in str(caught.value)


def test_log_likelihoods_need_a_model_here_and_take_no_constitution_nor_recorded_text(
    data_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(CopsdError, match="only a local model on the engine transformers"):
        plan(RunConfig(model="openai/gpt-4o", task=["lm_eval/truthfulqa_mc1"]))
    with pytest.raises(CopsdError, match="a constitution has no place"):
        lm_eval("truthfulqa_mc1", constitution="default")
    file = tmp_path / "answers.jsonl"
    file.write_text('{"id": "a", "response": "b"}\n', encoding="utf-8")
    with pytest.raises(CopsdError, match="recorded texts cannot be scored"):
        plan_responses("lm_eval/truthfulqa_mc1", file, "m", None, tmp_path, "none")


def test_a_generative_task_runs_on_any_model_with_its_own_limits(data_dir: Path) -> None:
    task = make_task("lm_eval/gsm8k@1")
    assert (task.name, len(task.dataset)) == ("lm_eval/gsm8k@1", 1319)
    assert task.config.stop_seqs == ["Question:", "</s>", "<|im_end|>"]
    assert [message.role for message in task.dataset[0].input if not isinstance(message, str)] == [
        "user", "assistant", "user"
    ]  # fmt: skip
    other = make_task("lm_eval/gsm8k@1", constitution="default")
    assert [s.id for s in other.dataset] == [s.id for s in task.dataset], "draws of examples repeat"
    assert task.version != make_task("lm_eval/gsm8k@0").version


class Letters:
    """A tokenizer of one token a letter, with a begin-of-text token that is text too."""

    bos_token_id = 1

    def __call__(self, text: str, add_special_tokens: bool, **_: Any) -> dict[str, list[int]]:
        ids = [1 if c == "^" else ord(c) for c in text]
        return {"input_ids": [1, *ids] if add_special_tokens else ids}

    def decode(self, ids: list[int]) -> str:
        return "".join("^" if i == 1 else chr(i) for i in ids)


@pytest.mark.parametrize(
    ("context", "continuation", "length", "before", "after"),
    [
        ("ab", " c", 99, "^ab", " c"),
        ("ab ", "c", 99, "^ab", " c"),
        ("^ab", " c", 99, "^ab", " c"),
        ("", "c", 99, "^", "c"),
        ("", "^c", 99, "^", "c"),
        ("abcdef", " g", 5, "def", " g"),
    ],
)
def test_a_pair_is_split_where_the_context_alone_ends(
    context: str, continuation: str, length: int, before: str, after: str
) -> None:
    tokenizer = Letters()
    found = encode_pair(tokenizer, context, continuation, length)
    assert [tokenizer.decode(list(ids)) for ids in found] == [before, after]
