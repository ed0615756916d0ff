"""On-policy distillation: loss piece, mini-batch, step, loop. COPSD: arXiv 2606.03089, Algorithm 1."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from copsd_bench.engine.states import completion_states
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError
from copsd_train import losses, token_sets
from copsd_train.corpora.answers import stream
from copsd_train.distill_recipe import DIVERGENCES, Distill, Signal
from copsd_train.optimiser import Updater, not_finite
from copsd_train.policy import Policy
from copsd_train.rollouts import (
    Batch,
    Generate,
    Metrics,
    OutcomeJudge,
    assess,
    describe,
    joined,
    judge_outcomes,
    judged,
    moved,
    padded,
    roll_out,
    score,
    split,
    teacher_name,
    told_gaps,
)
from copsd_train.teacher import Row, check_gap


class TeacherStates(NamedTuple):
    """The teacher's states [B, T, H], its LM head, and the tokens [K] of a divergence on a set."""

    states: torch.Tensor
    head: losses.Head
    tokens: torch.Tensor | None


def token_losses(
    states: torch.Tensor,
    head: losses.Head,
    ids: torch.Tensor,
    batch: Batch,
    teacher: TeacherStates | None,
    on_policy: bool,
    config: Distill,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of each token, [B, T], and what is reported about it, each [B, T].

    Args:
        states: student states that predict each token, [B, T, H].
        head: states -> logits.
        ids: sampled tokens, [B, T].
        batch: the B rows.
        teacher: its states, if the signal needs its whole distribution.
        on_policy: the student has not been updated since it sampled: the ratio is exactly 1, whatever the rounding.
        config: signal, clip, weights.
    """
    seen: dict[str, torch.Tensor] = {}
    loss = torch.zeros_like(batch.student)
    if config.advantage.kind != "none" or config.kl_coef:
        logprobs = losses.chunked_logprobs(states, head, ids)
        seen["drift"] = (logprobs - batch.student).abs().detach()
    if config.advantage.kind != "none":
        old = logprobs.detach() if on_policy else batch.student
        surrogate, clipped = losses.policy_loss(logprobs, old, batch.advantages, config.clip)
        loss = loss + surrogate
        seen["clipped"] = clipped.float()
    signal = config.signal
    if teacher is not None:
        if signal.kind in DIVERGENCES:
            divergence = losses.chunked(_divergence(teacher, signal), states, head, teacher.states)
            loss = loss + divergence
            seen["divergence"] = divergence.detach()
        if (gate := signal.entropy_gate) is not None:
            forward = losses.chunked_divergence(states, head, teacher.states, teacher.head, beta=0.0)
            open_ = losses.entropy_gate(batch.teacher_entropy, gate.threshold)
            if config.outcome is not None and config.outcome.sources:  # their rows have no teacher
                open_ = open_ * ~judged(batch, config.outcome).to(open_.device).unsqueeze(1)
            loss = loss + gate.weight * open_ * forward
            seen["gate_open"] = open_.float()
    if config.kl_coef:
        k3 = losses.k3(logprobs, batch.base)
        loss = loss + config.kl_coef * k3
        seen["kl_base"] = k3.detach()
    return loss, seen


def _divergence(teacher: TeacherStates, signal: Signal) -> Callable[..., torch.Tensor]:
    """The divergence a signal names, of student logits [n, V] and teacher states [n, H]."""
    beta = signal.beta
    assert beta is not None

    def loss(logits: torch.Tensor, teacher_states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            told = teacher.head(teacher_states)
        if signal.kind == "topk":
            assert signal.k is not None
            return token_sets.topk_divergence(logits, told, signal.k, beta, signal.tail, signal.stop_gradient)
        if signal.kind == "token_set":
            assert signal.variant is not None
            assert teacher.tokens is not None
            return token_sets.token_set_divergence(logits, told, teacher.tokens, beta, signal.variant)
        return losses.divergence(logits, told, beta, signal.clip)

    return loss


def update_minibatch(batch: Batch, policy: Policy, updater: Updater, config: Distill, first: bool) -> Metrics:
    """One optimiser update on the rows of a mini-batch, accumulated exactly over micro-batches.

    Args:
        batch: rows of this mini-batch, scored.
        policy: the student is trained in place.
        updater: the optimiser.
        config: the stage.
        first: the student has not been updated since it sampled.

    Raises:
        CopsdError: the loss or the gradient is not finite; the weights are as they were.
    """
    [total] = updater.ranks.sum_numbers([float(_weights(batch.mask, config).sum())])
    totals: dict[str, float] = {}
    for part in split(batch, math.ceil(len(batch.rows) / config.micro_batch_size), whole_groups=False):
        teacher = _teacher(part, policy, config)
        device = policy.engine.model.device
        on_device = moved(part, device)
        ids = padded([completion.ids for completion in part.completions], part.mask, torch.long).to(device)

        def loss_of(
            states: torch.Tensor,
            head: losses.Head,
            ids: torch.Tensor = ids,
            part: Batch = on_device,
            teacher: TeacherStates | None = teacher,
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return token_losses(states, head, ids, part, teacher, first, config)

        with policy.training():
            per_token, seen = policy.model(
                [row.student for row in part.rows], [completion.ids for completion in part.completions], loss_of
            )
            weights = _weights(on_device.mask, config)
            loss = losses.token_mean(per_token, weights, total)
            loss.backward()
        updater.accumulate()
        for name, values in {"loss": per_token.detach(), **seen}.items():
            totals[name] = totals.get(name, 0.0) + float(losses.token_mean(values, weights, total))
    metrics = dict(zip(totals, updater.ranks.sum_numbers(list(totals.values())), strict=True))
    if not math.isfinite(metrics["loss"]):
        raise not_finite("loss")
    return {**metrics, **updater.update()}


def step(
    rows: Sequence[Row],
    policy: Policy,
    updater: Updater,
    generate: Generate,
    config: Distill,
    seed: int,
    check: bool = False,
    judge: OutcomeJudge | None = None,
) -> tuple[Metrics, Batch]:
    """One step: roll out, score, assess, update.

    Args:
        rows: the prompts of the step.
        policy: the student is trained in place.
        updater: its optimiser.
        generate: answers of the student.
        config: the stage.
        seed: of this step.
        check: that the teacher's contexts change anything, before anything is updated.
        judge: gives the outcomes, if the recipe has some.

    Returns:
        Metrics (nats a token, tokens, fractions; those under `time/` in seconds or tokens a second), and the rollouts
        of all processes.
    """
    clock = [time.perf_counter()]
    batch = roll_out(rows, generate, config.rollout, seed)
    clock.append(time.perf_counter())
    score(batch, policy, config)
    if check and (config.teacher.context != "none" or config.teacher.intervention != "none"):
        check_gap(batch.rows, told_gaps(batch, policy, config), config.teacher)
    if config.outcome is not None and judge is not None:
        judge_outcomes(batch, config.outcome, judge)
    assess(batch, config)
    clock.append(time.perf_counter())
    updates: list[Metrics] = []
    for part in split(batch, config.minibatches):
        updates.append(update_minibatch(part, policy, updater, config, first=not updates))
    updater.update_average()
    clock.append(time.perf_counter())
    names = {name for update in updates for name in update}
    metrics = {name: sum(update[name] for update in updates) / len(updates) for name in sorted(names)}
    # Once the student has moved, its log-probabilities differ for a reason; before, by rounding only.
    if "drift" in updates[0]:
        metrics["path_noise"] = updates[0]["drift"]
    batch = joined(updater.ranks.gather(batch))
    metrics |= describe(batch, config)
    metrics["processes"] = updater.ranks.size
    durations = [b - a for a, b in itertools.pairwise(clock)]
    metrics |= {f"time/{name}": t for name, t in zip(("rollout", "score", "update"), durations, strict=True)}
    metrics["time/tokens_per_second"] = float(batch.mask.sum()) / sum(durations)
    return metrics, batch


def loop(
    rows: Sequence[Row],
    policy: Policy,
    updater: Updater,
    generate: Generate,
    config: Distill,
    seed: int,
    start: int,
    judge: OutcomeJudge | None = None,
) -> Iterator[tuple[int, Metrics, Batch]]:
    """Step after step from `start` (0 is the beginning), each with its metrics and rollouts.

    Raises:
        CopsdError: a guarantee fails on the first batch, or a loss is not finite (which step).
    """
    ranks = updater.ranks
    if ranks.size > 1 and config.prompts_per_step % (config.minibatches * ranks.size):
        raise CopsdError(
            f"distill.prompts_per_step {config.prompts_per_step} cannot be shared evenly by {ranks.size} processes "
            f"over {config.minibatches} minibatches; make it a multiple of {config.minibatches * ranks.size}."
        )
    for number in range(start, total_steps(config, len(rows))):
        ranks.seed(seed, "distill", number)
        chosen = ranks.share(prompts_of_step(number, len(rows), config.prompts_per_step, seed), config.minibatches)
        try:
            metrics, batch = step(
                [rows[i] for i in chosen], policy, updater, generate, config, stream(seed, number), number == 0, judge
            )
        except CopsdError as error:
            raise CopsdError(f"Step {number + 1}: {error}", error.code) from error
        yield number + 1, metrics, batch


def total_steps(config: Distill, rows: int) -> int:
    """Steps of the stage: as said, or as many whole ones as the epochs hold.

    Raises:
        CopsdError: the corpus has fewer prompts than one step takes.
    """
    if config.prompts_per_step > rows:
        raise CopsdError(
            f"distill.prompts_per_step is {config.prompts_per_step}, but the corpus has {rows} prompts; lower it."
        )
    return config.steps or config.epochs * (rows // config.prompts_per_step)


def prompts_of_step(step: int, rows: int, per_step: int, seed: int) -> list[int]:
    """Indices of a step's prompts: a new order each epoch, decided by seed and step alone, so that resuming is exact.

    Each epoch holds whole steps only, so that no prompt comes twice in one step.
    """
    per_epoch = rows // per_step
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(stream(seed, "epoch", epoch)))
    return order[place * per_step : (place + 1) * per_step].tolist()


def _weights(mask: torch.Tensor, config: Distill) -> torch.Tensor:
    """How much each token counts in the mean, [N, T]: all the same, or all answers the same."""
    return mask if config.average == "tokens" else mask / mask.sum(dim=1, keepdim=True)


@torch.no_grad()
def _teacher(batch: Batch, policy: Policy, config: Distill) -> TeacherStates | None:
    """What the teacher says at the completion tokens, if the signal needs its whole distribution."""
    if config.signal.kind not in DIVERGENCES and config.signal.entropy_gate is None:
        return None
    engine, view = policy.side(teacher_name(config))
    ids = [completion.ids for completion in batch.completions]
    with using(engine.model, view):
        states = completion_states(engine.head, [row.teacher for row in batch.rows], ids, engine.sharing())
    tokens = None if policy.safety_tokens is None else policy.safety_tokens.to(engine.model.device)
    return TeacherStates(torch.nn.utils.rnn.pad_sequence(states, batch_first=True), engine.head.logits, tokens)
