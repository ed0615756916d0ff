"""Who answers for the student: the policy itself, vLLM with its adapter handed over, or a recording."""

import tempfile
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
from copsd_bench.errors import CopsdError
from copsd_train import recipe
from copsd_train.policy import Policy
from copsd_train.rollouts import Generate
from copsd_train.run import read_lines


@contextmanager
def student_generator(config: recipe.Rollout, policy: Policy, folder: Path) -> Iterator[Generate]:
    """The generator a recipe asks for, ended with the block.

    Args:
        config: which one.
        policy: holds the student.
        folder: of the run; adapters on their way to vLLM are written there.
    """
    if config.engine == "vllm":
        with _vllm(config, policy, folder) as generate:
            yield generate
    elif config.file is not None:
        yield recorded(Path(config.file), policy)
    else:
        yield lambda prompts, sampling, seeds: policy.generate(policy.trained, prompts, sampling, seeds)


def recorded(file: Path, policy: Policy) -> Generate:
    """Answers of an earlier run in its samples.jsonl, prompt by prompt in the order they were given.

    Raises:
        CopsdError: (when asked) it holds no further answer to a prompt.
    """
    answers: dict[tuple[int, ...], deque[Completion]] = defaultdict(deque)
    for row in read_lines(file):
        ids = tuple(row["ids"])
        answers[tuple(row["prompt_ids"])].append(
            Completion(ids, row["answer"], tuple(row["logprobs"]), (), row["stop_reason"])
        )

    def generate(prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        missing = next((prompt for prompt in prompts if not answers[prompt.ids]), None)
        if missing is not None:
            raise CopsdError(f"{file} holds no further answer to the prompt that ends {missing.text[-60:]!r}.")
        return [answers[prompt.ids].popleft() for prompt in prompts]

    return generate


@contextmanager
def _vllm(config: recipe.Rollout, policy: Policy, folder: Path) -> Iterator[Generate]:
    from copsd_bench.engine.vllm_engine import VllmEngine

    with tempfile.TemporaryDirectory(prefix=".vllm-", dir=folder) as adapters:
        current = Path(adapters) / "0"
        policy.save(current)
        dtype = str(policy.engine.model.dtype).removeprefix("torch.")
        with VllmEngine(
            policy.base.path, {"student": current}, dtype, engine_args=config.engine_args,
            trust_remote_code=policy.base.trust_remote_code,
        ) as engine:  # fmt: skip
            steps = 0

            def generate(prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
                nonlocal steps
                steps += 1
                # A new folder each time: vLLM knows an adapter by name and path, and keeps what it has read.
                policy.save(Path(adapters) / str(steps))
                engine.replace_adapter("student", Path(adapters) / str(steps))
                return engine.generate(View(adapter="student"), prompts, sampling, seeds)

            yield generate
