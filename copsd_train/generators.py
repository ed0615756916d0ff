"""Who answers for the student: the policy itself, vLLM with its adapter handed over, or a recording."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
from copsd_bench.errors import CopsdError
from copsd_train.distill_recipe import Rollout
from copsd_train.images import with_picture
from copsd_train.policy import Policy
from copsd_train.rollouts import Generate
from copsd_train.run_folder import read_lines


@contextmanager
def student_generator(config: Rollout, policy: Policy, folder: Path) -> Iterator[Generate]:
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
        yield recorded(Path(config.file))
    else:
        yield lambda prompts, sampling, seeds: policy.generate(policy.trained, prompts, sampling, seeds)


def recorded(file: Path) -> Generate:
    """Answers of an earlier run with the same seed and prompts, in its samples.jsonl.

    Raises:
        CopsdError: there is no such file; or (when asked) it does not hold the answer of a random stream.
    """
    if not file.is_file():
        raise CopsdError(f"There is no recording {file}; give the samples.jsonl of a run as distill.rollout.file.")
    answers = {
        row["seed"]: Completion(tuple(row["ids"]), row["answer"], tuple(row["logprobs"]), (), row["stop_reason"])
        for row in read_lines(file)
        if row["stage"] == "distill"
    }

    def generate(prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        if missing := set(seeds) - set(answers):
            raise CopsdError(
                f"{file} lacks {len(missing)} of the {len(seeds)} answers of this step; it must come from a run with "
                "the same seed, prompts and steps, and with samples at least its answers a step."
            )
        return [answers[seed] for seed in seeds]

    return generate


@contextmanager
def _vllm(config: Rollout, policy: Policy, folder: Path) -> Iterator[Generate]:
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
                shown = [with_picture(prompt) for prompt in prompts]
                return engine.generate(View(adapter="student"), shown, sampling, seeds)

            yield generate
