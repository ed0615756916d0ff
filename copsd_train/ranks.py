"""The processes that train together (`accelerate launch`); alone there is one, and nothing here does anything.

Every process holds the model, takes its share of each mini-batch and adds its gradients to the others' in float32, once
an update. As losses are divided by the token count of the whole mini-batch, that sum is the gradient of one process.
With FSDP2 what is trained is split over the processes besides (`sharding.py`).
"""

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from copsd_bench.errors import CopsdError
from copsd_train.corpora.answers import stream

T = TypeVar("T")
WAIT = timedelta(days=30)
"""How long a process waits for another."""


class Ranks:
    """This process among `size`; `main` is the one that writes files; `sharded` asks for FSDP2."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0
        self.sharded = False
        if self.size > 1:
            from accelerate import PartialState

            # Collectives here are few and on small float32 tensors of any device: gloo on CPUs, NCCL on GPUs. While
            # one process builds a corpus the others wait for hours; torch would end them after ten minutes.
            state = PartialState(cpu=not _accelerated(), timeout=WAIT)
            self.rank = state.process_index
            self.sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
            if self.sharded and os.environ.get("FSDP_VERSION") != "2":
                raise CopsdError("Only FSDP2 is supported: accelerate launch --use_fsdp --fsdp_version 2.")
            # Else transformers leaves the weights out in all processes but the first; each rolls out with its own.
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def seed(self, seed: int, stage: str, step: int) -> None:
        """Start torch's own random numbers (dropout) anew at a step: the same ones whatever ran before, also resumed.

        Args:
            seed, stage, step: decide them, and this process.
        """
        import torch

        torch.manual_seed(stream(seed, stage, step, self.rank))

    def share(self, items: Sequence[T], parts: int) -> list[T]:
        """This process's items: of each of `parts` consecutive cuts (the mini-batches) its own consecutive piece.

        Args:
            items: the same in every process.
            parts: mini-batches; each must hold at least one item a process.
        """
        cuts = [round(i * len(items) / parts) for i in range(parts + 1)]
        mine: list[T] = []
        for a, b in itertools.pairwise(cuts):
            edges = [a + round(r * (b - a) / self.size) for r in range(self.size + 1)]
            mine += items[edges[self.rank] : edges[self.rank + 1]]
        return mine

    def sum(self, tensors: Iterable[Any]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            import torch.distributed as dist

            for tensor in tensors:
                dist.all_reduce(tensor)

    def sum_numbers(self, values: Sequence[float]) -> list[float]:
        """The sum of each number over all processes."""
        if self.size == 1:
            return list(values)
        return [sum(column) for column in zip(*self.gather(list(values)), strict=True)]

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in order of rank, in every process."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def main_first(self, work: Callable[[], object]) -> None:
        """Do something in the main process while the others wait; an error there ends all of them."""
        failure: CopsdError | None = None
        if self.main:
            try:
                work()
            except CopsdError as error:
                failure = error
        failure = self.gather(failure)[0]
        if failure is not None:
            raise failure


def _accelerated() -> bool:
    import torch

    return torch.cuda.is_available()
