"""The token limit that a record states is the one the model was given, whoever words the question."""

from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model

from copsd_bench.records.build import task_record
from copsd_bench.suites import make_task


@pytest.mark.parametrize("name", ["mmlu", "arc_challenge", "humaneval", "jailbreakbench"])
def test_a_runs_limit_reaches_the_model(data_dir: Path, tmp_path: Path, name: str) -> None:
    limits = []

    def answer(input: Any, tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        limits.append(config.max_tokens)
        output = ModelOutput.from_content("mockllm", "Yes.")
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    model = get_model("mockllm/model", custom_outputs=answer, memoize=False)
    task, logs = make_task(name), {}
    for given in (None, 7):
        (logs[given],) = eval(task, model=model, limit=1, max_tokens=given, log_dir=str(tmp_path), display="none")
    stated = [task_record(log, 0).generation["max_tokens"] for log in logs.values()]
    assert limits == stated
    assert limits[1] == 7
