"""MBPP (Austin et al. 2021, arXiv 2108.07732): short Python tasks, checked by three assertions each."""

from inspect_ai import Task, task
from inspect_ai.scorer import Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, prompt_template
from inspect_evals.mbpp.mbpp import PROMPT_TEMPLATE, find_code, record_to_sample

from copsd_bench.benchmarks.code import code_task, passes
from copsd_bench.benchmarks.execution import Where
from copsd_bench.sources.loader import load_records

VERSION = "1"
TEST_IDS = range(11, 511)
"""`task_id`s of the test split; others are for prompts, validation and training."""
QUESTION = "\n\n## Prompt:\n{prompt}\n\n## Test Case:\n```python\n{test_list_str}\n```\n\n## Completion:\n"


@task
def mbpp(sandbox: Where = "none", constitution: str = "none", seed: int = 0) -> Task:
    """pass@1 on the test split of the sanitized set: inspect-evals' instructions and checks, without its examples.

    Its worked examples come from the full set, which is another download; greedy, one answer, 512 tokens.

    Args:
        sandbox: where the code runs: `docker`, `local` (no isolation), or `none`, which leaves every answer unscored.
        constitution: context the model sees (`none`, a name, a file).
        seed: of the samples' random streams.
    """
    loaded = load_records("mbpp")
    samples = [record_to_sample(record) for record in loaded.records if record["task_id"] in TEST_IDS]
    ask = [prompt_template(PROMPT_TEMPLATE + QUESTION)]
    return code_task(
        "mbpp", VERSION, loaded, samples, solved(sandbox), sandbox, constitution, seed, max_tokens=512, before=ask
    )


@scorer(metrics=[mean()], name="mbpp")
def solved(where: Where) -> Scorer:
    """Whether the function passes its assertions."""
    return passes(find_code, program, where)


def program(state: TaskState, target: Target, answer: str) -> str:
    """The model's code, then the assertions."""
    return "\n".join([answer, *target])
