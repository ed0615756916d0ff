"""Progress of a stage: a live bar with the numbers that matter on a terminal, one line a step elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Self

SHOWN = {
    "loss": "loss",
    "reward": "reward",
    "outcome": "outcome",
    "margin": "margin",
    "accuracy": "accuracy",
    "kl_teacher": "KL(S||T)",
    "kl_base": "KL(S||base)",
    "entropy": "entropy",
    "tokens_mean": "length",
    "clipped": "clipped",
    "bypass": "bypass",
    "induce": "induce",
    "kl": "KL",
    "time/tokens_per_second": "tokens/s",
}
"""Metric -> heading."""


class Progress:
    """Used as a context around a stage's loop.

    Args:
        stage: its name.
        total: steps of the whole stage.
        done: steps done before.
        visible: False shows nothing.
    """

    def __init__(self, stage: str, total: int, done: int, visible: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.stage, self.total, self.done, self.visible = stage, total, done, visible
        self.began = time.monotonic()
        console = Console(stderr=True)
        columns = ("{task.description}", BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = (
            Bar(*columns, TextColumn("{task.fields[numbers]}"), console=console)
            if visible and console.is_terminal
            else None
        )
        self._task = self._bar.add_task(stage, total=total, completed=done, numbers="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """The numbers of a finished step."""
        numbers = "  ".join(f"{name} {_short(metrics[key])}" for key, name in SHOWN.items() if key in metrics)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, numbers=numbers)
            return
        if not self.visible:
            return
        seconds = (time.monotonic() - self.began) / (step - self.done) * (self.total - step)
        print(f"{self.stage} {step}/{self.total}  {numbers}  left {_duration(seconds)}", file=sys.stderr, flush=True)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
