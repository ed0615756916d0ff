"""AdamW on float32 copies of what is trained: in bf16 an update of 2e-6 would be rounded away."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from copsd_bench.errors import CopsdError, ExitCode
from copsd_train.ranks import Ranks
from copsd_train.recipe_parts import Optimiser
from copsd_train.sharding import like, whole


class Updater:
    """Accumulates gradients in float32 and updates; the model gets the result in its own dtype.

    Args:
        parameters: what is trained, by name.
        config: learning rate, schedule, clipping.
        total: optimiser updates of the whole stage.
        average: parameters of an exponential moving average, by the same names, and its decay.
        ranks: processes whose gradients are added before an update.
        mirror: an unsharded copy of the parameters that follows them, if they are sharded.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        config: Optimiser,
        total: int,
        average: tuple[Mapping[str, torch.nn.Parameter], float] | None = None,
        ranks: Ranks | None = None,
        mirror: Mapping[str, torch.nn.Parameter] | None = None,
    ) -> None:
        self.mirror = mirror or {}
        self.ranks = ranks or Ranks()
        self.parameters = dict(parameters)
        self.config = config
        self.total = total
        self.updates = 0
        self.masters = {name: p.detach().float().clone() for name, p in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(
            self.masters.values(), lr=config.lr, weight_decay=config.weight_decay, foreach=False
        )
        self.average, self.decay = average or ({}, 0.0)
        self.averages = {name: self.masters[name].clone() for name in self.average}

    def accumulate(self) -> None:
        """Take over the gradients of one backward pass."""
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                # FSDP takes the mean over processes where losses, divided by the whole batch, want the sum.
                master, gradient = self.masters[name], parameter.grad.float() * (self.ranks.size if self.mirror else 1)
                master.grad = gradient if master.grad is None else master.grad + gradient
                parameter.grad = None

    def update(self) -> dict[str, float]:
        """One step of AdamW with all accumulated gradients; returns `grad_norm` before clipping, and `lr`.

        Raises:
            CopsdError: a gradient is not finite; nothing is changed.
        """
        for master in self.masters.values():
            if master.grad is None:  # a process without rows takes part in the sum all the same
                master.grad = torch.zeros_like(master)
        if not self.mirror:
            self.ranks.sum(master.grad for master in self.masters.values())
        clipped = torch.nn.utils.clip_grad_norm_(self.masters.values(), self.config.max_grad_norm, foreach=False)
        norm = float(whole(clipped))
        if not math.isfinite(norm):
            raise not_finite("gradient")
        lr = self.config.lr * schedule(self.updates, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.updates += 1
        self._publish_all()
        return {"grad_norm": norm, "lr": lr}

    def update_average(self) -> None:
        """One step of the moving average: average = decay x average + (1 - decay) x trained."""
        for name, value in self.averages.items():
            value.lerp_(self.masters[name], 1 - self.decay)
        _publish(self.average, self.averages)

    def state(self) -> dict[str, Any]:
        """Everything needed to go on exactly: whole tensors and numbers. All processes must ask for it."""
        inner = self.optimizer.state_dict()
        moments = {i: {k: whole(v) for k, v in values.items()} for i, values in inner["state"].items()}
        return {
            "updates": self.updates,
            "masters": {name: whole(value) for name, value in self.masters.items()},
            "averages": {name: whole(value) for name, value in self.averages.items()},
            "optimizer": {**inner, "state": moments},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        self.updates = state["updates"]
        for mine, theirs in ((self.masters, state["masters"]), (self.averages, state["averages"])):
            for name, value in mine.items():
                value.copy_(like(theirs[name], value))
        moments = {
            i: {k: like(v, master) if v.shape == master.shape else v for k, v in state["optimizer"]["state"][i].items()}
            for i, master in enumerate(self.masters.values())
            if i in state["optimizer"]["state"]
        }
        self.optimizer.load_state_dict({**state["optimizer"], "state": moments})
        self._publish_all()
        _publish(self.average, self.averages)

    def _publish_all(self) -> None:
        _publish(self.parameters, self.masters)
        _publish(self.mirror, self.masters)


@torch.no_grad()
def _publish(parameters: Mapping[str, torch.nn.Parameter], values: Mapping[str, torch.Tensor]) -> None:
    """Give parameters their values in their own dtype; whole ones get whole values."""
    for name, parameter in parameters.items():
        value = values[name]
        parameter.copy_(value if hasattr(parameter, "full_tensor") else whole(value))


def not_finite(what: str) -> CopsdError:
    """The error of a step whose loss or gradient is no number."""
    return CopsdError(
        f"the {what} is not finite; no weight was changed and the last checkpoint is kept: start a new run with a lower "
        "optimiser.lr",
        ExitCode.RUN,
    )


def schedule(update: int, total: int, config: Optimiser) -> float:
    """Factor of the learning rate at an update, from 0: linear warm-up, then constant or half a cosine down to 0."""
    warmup = math.ceil(config.warmup * total)
    if update < warmup:
        return (update + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, total - warmup)))
