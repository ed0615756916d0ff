"""What all training stages share: where they go on, and what happens after each step."""

from collections.abc import Iterable
from typing import Any

from copsd_bench.cachedir import write_atomic
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.monitor import Monitor
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.progress import Progress
from copsd_train.ranks import Ranks
from copsd_train.rollouts import Metrics, Sample, Step
from copsd_train.run import Run

STOPPED = "stopped.txt"
"""Says in a run's folder why its monitor stopped it; as long as it is there, the run does not go on."""


def begin(run: Run, ranks: Ranks, stage: str, updater: Updater) -> int:
    """Bring a stage's newest checkpoint back; the number of steps done.

    Raises:
        CopsdError: the monitor stopped the run.
    """
    stopped = run.folder / STOPPED
    if stopped.exists():
        raise CopsdError(stopped.read_text(encoding="utf-8"), ExitCode.RUN)
    start = run.restore(stage, updater)
    ranks.main_first(lambda: run.rewind(stage, start))
    return start


def follow(
    run: Run,
    ranks: Ranks,
    stage: str,
    policy: Policy,
    updater: Updater,
    span: tuple[int, int],
    steps: Iterable[Step],
    monitor: Monitor | None = None,
) -> None:
    """Take the steps of a stage: log, look, save and show each; what is trained is left at the end.

    Args:
        run, ranks, stage: where this happens.
        policy, updater: what is trained.
        span: steps done, and steps of the whole stage.
        steps: each with its number, metrics and rows of samples.jsonl.
        monitor: looks at the student as often as the recipe says.

    Raises:
        CopsdError: the monitor stops the run.
    """
    recipe, (start, total) = run.recipe, span
    with Progress(stage, total, start, ranks.main) as progress:
        for step, metrics, samples in steps:
            due = step % recipe.checkpoints.every == 0 or step == total
            state = updater.state() if due else None

            def keep(
                step: int = step,
                metrics: Metrics = metrics,
                samples: list[Sample] = samples,
                state: dict[str, Any] | None = state,
            ) -> None:
                verdict = None
                if monitor is not None and recipe.monitor.every and step % recipe.monitor.every == 0:
                    found, verdict = monitor.look()
                    metrics |= found
                run.log(stage, step, metrics)
                run.log_samples(samples)
                if state is not None:
                    run.save(stage, step, policy, state)
                if verdict is not None and verdict.state == recipe.monitor.stop_on:
                    sentence = (
                        f"Stopped at step {step} of {stage} as monitor.stop_on asks: the answers are {verdict.state} "
                        f"({'; '.join(verdict.reasons)}); the checkpoints in {run.folder} are kept, and without "
                        f"{STOPPED} there the same command goes on."
                    )
                    write_atomic(run.folder / STOPPED, sentence.encode())
                    raise CopsdError(sentence, ExitCode.RUN)

            ranks.main_first(keep)
            progress.show(step, metrics)
    ranks.main_first(lambda: policy.save(run.output(stage)))
