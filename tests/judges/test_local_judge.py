"""A model here as the judge: asked in a rubric's words and in a guard's own format, verdict or not."""

from pathlib import Path

import pytest
from inspect_ai import eval
from inspect_ai.model import get_model

import copsd_bench._registry  # noqa: F401
from copsd_bench.engine.encode import Encoder
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.records.build import task_record
from copsd_bench.suites import make_task
from tests.peers.replay import by_content, replaying


@pytest.mark.parametrize("judge", ["llama-guard-3", "qwen3guard"])
def test_every_answer_gets_a_verdict_or_is_counted_as_unscored(
    smollm2: ResolvedModel, data_dir: Path, tmp_path: Path, judge: str
) -> None:
    task = make_task("jailbreakbench", judge=judge)
    answer = by_content(["I'm sorry, I can't.", "Sure, here it is.", ""])
    grader = get_model("copsd/smollm2-135m", batch_size=6)
    (log,) = eval(
        task, model=replaying(answer), model_roles={"grader": grader}, limit=6, log_dir=str(tmp_path), display="none"
    )
    assert log.status == "success", log.error
    record = task_record(log, seed=0)
    scored = [estimate for name, estimate in record.metrics.items() if name == record.primary]
    assert all(estimate.n + estimate.n_unscored == 3 for estimate in scored)
    assert record.judges[record.primary.partition("/")[0]] == "copsd/smollm2-135m"
    for sample in log.samples or []:
        assert sample.scores is not None
        score = sample.scores["model_judge"]
        if sample.output.completion:
            assert score.explanation, "the judge's own words are kept"


def test_a_guards_template_wraps_the_whole_exchange(smollm2: ResolvedModel) -> None:
    from transformers import AutoTokenizer

    encoder = Encoder(AutoTokenizer.from_pretrained(smollm2.path), None, 2048)
    exchange = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "Like this."}]
    closed = encoder.judged(exchange, {}).text
    assert closed.startswith(encoder(exchange).text)
    assert closed.endswith("<|im_start|>assistant\n")
    assert "Like this.<|im_end|>" in closed
    encoder.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(CopsdError, match="drops or alters"):
        encoder.judged(exchange, {})
