"""On-policy distillation, in the order it runs: rollout -> score -> advantage -> mini-batches -> loop.

The student answers without a context. Its own tokens are scored under the teacher view, which has one, and under the
student on the same path, so that numerical differences between paths cancel. COPSD: arXiv 2606.03089, Algorithm 1.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from copsd_bench.engine.protocol import Completion, Prompt, Sampling
from copsd_bench.engine.states import completion_states
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.protocol import Unscored
from copsd_bench.judges.registry import get_judge
from copsd_train import advantages, losses, recipe
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.teacher import Row, check_gap

Generate = Callable[[Sequence[Prompt], Sampling, Sequence[int]], list[Completion]]
"""Prompts, sampling and one seed a row -> completions of the student."""
Metrics = dict[str, float]


@dataclass
class Batch:
    """The rollouts of one step: N rows (G a prompt), T tokens of the longest one.

    Attributes:
        rows: the prompt of each rollout.
        completions: what the student answered.
        groups: number of the prompt in the step, [N].
        mask: True at completion tokens, [N, T].
        student, teacher, base: log-probabilities of the sampled tokens in nats, [N, T], 0 outside the mask; base only
            if the loss has a KL term.
        teacher_entropy: [N, T], only for an entropy gate.
        rewards: the signal as a reward, [N, T].
        advantages: [N, T].
        outcomes: a judge's reward of each row, nan where it gave none, [N].
    """

    rows: list[Row]
    completions: list[Completion]
    groups: torch.Tensor
    mask: torch.Tensor
    student: torch.Tensor
    teacher: torch.Tensor
    base: torch.Tensor
    teacher_entropy: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor
    outcomes: torch.Tensor


def token_losses(
    states: torch.Tensor,
    head: losses.Head,
    ids: torch.Tensor,
    batch: Batch,
    teacher_states: torch.Tensor | None,
    on_policy: bool,
    config: recipe.Distill,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of each token, [B, T], and what is reported about it, each [B, T].

    Args:
        states: student states that predict each token, [B, T, H].
        head: states -> logits.
        ids: sampled tokens, [B, T].
        batch: the B rows.
        teacher_states: [B, T, H] if the signal needs the teacher's whole distribution.
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
    if teacher_states is not None:
        if signal.kind == "full":
            assert signal.beta is not None
            divergence = losses.chunked_divergence(states, head, teacher_states, head, signal.beta)
            loss = loss + divergence
            seen["divergence"] = divergence.detach()
        if signal.kind == "topk":
            divergence = losses.chunked(_topk(head, signal), states, head, teacher_states)
            loss = loss + divergence
            seen["divergence"] = divergence.detach()
        if (gate := signal.entropy_gate) is not None:
            forward = losses.chunked_divergence(states, head, teacher_states, head, beta=0.0)
            open_ = losses.entropy_gate(batch.teacher_entropy, gate.threshold)
            loss = loss + gate.weight * open_ * forward
            seen["gate_open"] = open_.float()
    if config.kl_coef:
        k3 = losses.k3(logprobs, batch.base)
        loss = loss + config.kl_coef * k3
        seen["kl_base"] = k3.detach()
    return loss, seen


def _topk(head: losses.Head, signal: recipe.Signal) -> Callable[..., torch.Tensor]:
    assert signal.k is not None and signal.beta is not None
    k, beta = signal.k, signal.beta

    def loss(logits: torch.Tensor, teacher_states: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            teacher = head(teacher_states)
        return losses.topk_divergence(logits, teacher, k, beta, signal.tail, signal.stop_gradient)

    return loss


def roll_out(rows: Sequence[Row], generate: Generate, config: recipe.Rollout, seed: int) -> Batch:
    """G answers of the student to each prompt, each from its own random stream."""
    repeated = [row for row in rows for _ in range(config.per_prompt)]
    groups = [i for i in range(len(rows)) for _ in range(config.per_prompt)]
    seeds = [stream(seed, row.source.id, i % config.per_prompt) for i, row in enumerate(repeated)]
    sampling = Sampling(config.max_tokens, config.temperature, config.top_p)
    completions = generate([row.student for row in repeated], sampling, seeds)
    return batch_of(repeated, completions, torch.tensor(groups))


def batch_of(rows: list[Row], completions: list[Completion], groups: torch.Tensor) -> Batch:
    """Rollouts that nobody has scored yet."""
    lengths = torch.tensor([len(completion.ids) for completion in completions])
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    nothing = torch.zeros(mask.shape)
    unscored = torch.full((len(rows),), math.nan)
    return Batch(
        rows, completions, groups, mask, nothing, nothing, nothing, nothing, nothing, nothing, outcomes=unscored
    )


def score(batch: Batch, policy: Policy, config: recipe.Distill) -> Metrics:
    """Fill in log-probabilities of the sampled tokens under student, teacher and base, all on one path.

    Returns:
        `noise_floor`: mean difference in nats between decoding and scoring the same tokens under the same student;
        `entropy` of the student; `kl_teacher`: mean log p_S - log p_T, a sampled reverse KL(student||teacher).
    """
    ids = [completion.ids for completion in batch.completions]
    plain = [row.student for row in batch.rows]
    student = policy.score(policy.trained, plain, ids, entropy=True)
    batch.student = padded([row.logprobs for row in student], batch.mask)
    decoded = padded([completion.logprobs for completion in batch.completions], batch.mask)
    metrics = {
        "noise_floor": mean((batch.student - decoded).abs(), batch.mask),
        "entropy": mean(padded([row.entropies for row in student], batch.mask), batch.mask),
    }
    if config.kl_coef:
        batch.base = padded([row.logprobs for row in policy.score("base", plain, ids)], batch.mask)
    if config.signal.kind != "none":
        gate = config.signal.entropy_gate is not None
        scores = policy.score(teacher_name(config), [row.teacher for row in batch.rows], ids, entropy=gate)
        batch.teacher = padded([row.logprobs for row in scores], batch.mask)
        if gate:
            batch.teacher_entropy = padded([row.entropies for row in scores], batch.mask)
        metrics["kl_teacher"] = mean(batch.student - batch.teacher, batch.mask)
    return metrics


def judge_outcomes(batch: Batch, config: recipe.Outcome) -> None:
    """Fill in the outcome of each row that needs one, in [0, 1]; nan where the judge had no verdict."""
    wanted = [i for i, row in enumerate(batch.rows) if not config.sources or row.source.source in config.sources]
    verdicts = get_judge(config.judge).batch(
        [batch.rows[i].source.prompt for i in wanted], [batch.completions[i].text for i in wanted]
    )
    for i, verdict in zip(wanted, verdicts, strict=True):
        if not isinstance(verdict, Unscored):
            bad = batch.rows[i].source.kind in config.inverted
            batch.outcomes[i] = 1 - verdict.score if bad else verdict.score


def assess(batch: Batch, config: recipe.Distill) -> None:
    """Fill in rewards and advantages."""
    signal, rule, mask, groups = config.signal, config.advantage, batch.mask, batch.groups
    deltas = losses.sampled_reward(batch.teacher, batch.student, None, None)
    batch.rewards = losses.sampled_reward(batch.teacher, batch.student, signal.low, signal.high) * mask
    match rule.kind:
        case "token_group":
            batch.advantages = advantages.token_group(batch.rewards, mask, groups, rule.normalise)
        case "return_to_go":
            assert rule.gamma is not None and rule.min_rows is not None
            batch.advantages = advantages.return_to_go(
                batch.rewards, mask, groups, rule.gamma, rule.min_rows, rule.normalise
            )
        case "outcome":
            batch.advantages = advantages.outcome(batch.outcomes, mask, groups, rule.normalise)
        case "hybrid":
            assert rule.lam is not None
            batch.advantages = advantages.hybrid(
                batch.outcomes, batch.rewards, mask, groups, rule.lam, rule.normalise
            )
        case "self_distilled":
            assert rule.epsilon is not None
            batch.advantages = advantages.self_distilled(
                batch.outcomes, deltas, mask, groups, rule.epsilon, rule.normalise
            )
        case "none":
            return
    if config.outcome is not None and config.outcome.sources:
        judged = torch.tensor([row.source.source in config.outcome.sources for row in batch.rows])
        by_outcome = advantages.outcome(batch.outcomes, mask, groups, rule.normalise)
        batch.advantages = torch.where(judged.unsqueeze(1), by_outcome, batch.advantages)


def update_minibatch(batch: Batch, policy: Policy, updater: Updater, config: recipe.Distill, first: bool) -> Metrics:
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
    tokens = batch.mask.sum()
    totals: dict[str, float] = {}
    for part in split(batch, math.ceil(len(batch.rows) / config.micro_batch_size), whole_groups=False):
        teacher_states = _teacher_states(part, policy, config)
        device = policy.engine.model.device
        on_device = moved(part, device)
        ids = padded([completion.ids for completion in part.completions], part.mask, torch.long).to(device)

        def loss_of(
            states: torch.Tensor,
            head: losses.Head,
            ids: torch.Tensor = ids,
            part: Batch = on_device,
            teacher: torch.Tensor | None = teacher_states,
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            return token_losses(states, head, ids, part, teacher, first, config)

        with policy.training():
            per_token, seen = policy.model(
                [row.student for row in part.rows], [completion.ids for completion in part.completions], loss_of
            )
            loss = losses.token_mean(per_token, on_device.mask, tokens)
            if not math.isfinite(float(loss)):
                raise CopsdError("the loss is not finite", ExitCode.RUN)
            loss.backward()
        updater.accumulate()
        for name, values in {"loss": per_token.detach(), **seen}.items():
            totals[name] = totals.get(name, 0.0) + float(losses.token_mean(values, on_device.mask, tokens))
    return {**totals, **updater.update()}


def step(
    rows: Sequence[Row], policy: Policy, updater: Updater, generate: Generate, config: recipe.Distill, seed: int
) -> tuple[Metrics, Batch]:
    """One step: roll out, score, assess, update.

    Args:
        rows: the prompts of the step.
        policy: the student is trained in place.
        updater: its optimiser.
        generate: answers of the student.
        config: the stage.
        seed: of this step.

    Returns:
        Metrics (nats a token, tokens, fractions; those under `time/` in seconds or tokens a second), and the rollouts.
    """
    clock = [time.perf_counter()]
    batch = roll_out(rows, generate, config.rollout, seed)
    clock.append(time.perf_counter())
    metrics = score(batch, policy, config)
    if config.outcome is not None:
        judge_outcomes(batch, config.outcome)
    assess(batch, config)
    clock.append(time.perf_counter())
    updates: list[Metrics] = []
    for part in split(batch, config.minibatches):
        updates.append(update_minibatch(part, policy, updater, config, first=not updates))
    updater.update_average()
    clock.append(time.perf_counter())
    names = {name for update in updates for name in update}
    metrics |= {name: sum(update[name] for update in updates) / len(updates) for name in sorted(names)}
    # Once the student has moved, its log-probabilities differ for a reason; before, by rounding only.
    if "drift" in updates[0]:
        metrics["path_noise"] = updates[0]["drift"]
    metrics |= describe(batch, config)
    durations = [b - a for a, b in zip(clock, clock[1:], strict=False)]
    metrics |= {f"time/{name}": t for name, t in zip(("rollout", "score", "update"), durations, strict=True)}
    metrics["time/tokens_per_second"] = float(batch.mask.sum()) / sum(durations)
    return metrics, batch


def describe(batch: Batch, config: recipe.Distill) -> Metrics:
    """Numbers of a step's rollouts."""
    lengths = batch.mask.sum(dim=1).float()
    told = torch.tensor([row.context is not None for row in batch.rows])
    metrics = {
        "tokens_mean": float(lengths.mean()),
        "truncated": sum(c.stop_reason != "stop" for c in batch.completions) / len(batch.completions),
    }
    if config.signal.kind != "none":
        gap = batch.teacher - batch.student
        metrics["reward"] = mean(batch.rewards, batch.mask)
        # Dividing by it gives even near-agreement unit variance: when it falls, the advantages are amplified noise.
        metrics["reward_std"] = float(batch.rewards[batch.mask].std(correction=0))
        metrics["reward_clipped"] = mean((batch.rewards != gap).float(), batch.mask)
        metrics["with_context"] = float(told.float().mean())
        for name, rows in (("gap_with_context", told), ("gap_without_context", ~told)):
            if rows.any():
                metrics[name] = mean(gap[rows].abs(), batch.mask[rows])
    if not batch.outcomes.isnan().all():
        metrics["outcome"] = float(batch.outcomes.nanmean())
    if config.outcome is not None:
        metrics["outcome_unscored"] = float(batch.outcomes.isnan().float().mean())
    return metrics


def loop(
    rows: Sequence[Row],
    policy: Policy,
    updater: Updater,
    generate: Generate,
    config: recipe.Distill,
    seed: int,
    start: int,
) -> Iterator[tuple[int, Metrics, Batch]]:
    """Step after step from `start` (0 is the beginning), each with its metrics and rollouts.

    Raises:
        CopsdError: a guarantee fails on the first batch, or a loss is not finite (which step).
    """
    for number in range(start, total_steps(config, len(rows))):
        chosen = prompts_of_step(number, len(rows), config.prompts_per_step, seed)
        try:
            metrics, batch = step([rows[i] for i in chosen], policy, updater, generate, config, stream(seed, number))
        except CopsdError as error:
            raise CopsdError(f"Step {number + 1}: {error}", error.code) from error
        if number == 0 and config.signal.kind != "none":
            gaps = (batch.teacher - batch.student).tolist()
            check_gap(batch.rows, gaps, config.teacher.adapter)
        yield number + 1, metrics, batch


def total_steps(config: recipe.Distill, rows: int) -> int:
    """Steps of the stage: as said, or as many whole ones as the epochs hold.

    Raises:
        CopsdError: the corpus has fewer prompts than one step takes.
    """
    if config.prompts_per_step > rows:
        raise CopsdError(
            f"distill.prompts_per_step is {config.prompts_per_step}, but the corpus has {rows} prompts; lower it."
        )
    return config.steps or config.epochs * rows // config.prompts_per_step


def prompts_of_step(step: int, rows: int, per_step: int, seed: int) -> list[int]:
    """Indices of a step's prompts: a new order each epoch, a function of seed and step alone, so that resuming is exact.

    Each epoch holds whole steps only, so that no prompt comes twice in one step.
    """
    per_epoch = rows // per_step
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(stream(seed, "epoch", epoch)))
    return order[place * per_step : (place + 1) * per_step].tolist()


def stream(*parts: object) -> int:
    """A seed made of names and numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def teacher_name(config: recipe.Distill) -> str:
    """The view that teaches, as `Policy` calls it."""
    return "base" if config.teacher.adapter == "none" else config.teacher.adapter


def split(batch: Batch, parts: int, whole_groups: bool = True) -> list[Batch]:
    """Cut a batch into consecutive parts of equal size, as nearly as it goes; by whole prompts unless told otherwise."""
    marks = batch.groups.unique_consecutive(return_counts=True)[1].tolist() if whole_groups else [1] * len(batch.rows)
    starts = [0]
    for count in marks:
        starts.append(starts[-1] + count)
    cuts = [starts[round(i * len(marks) / parts)] for i in range(parts + 1)]
    return [_rows(batch, slice(a, b)) for a, b in zip(cuts, cuts[1:], strict=False) if b > a]


def padded(
    rows: Sequence[Sequence[float]], mask: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Values of each row as [N, T], 0 where the mask is False."""
    result = torch.zeros(mask.shape, dtype=dtype)
    result[mask] = torch.tensor([value for row in rows for value in row], dtype=dtype)
    return result


def mean(values: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean over the mask."""
    return float(losses.token_mean(values, mask))


def moved(batch: Batch, device: Any) -> Batch:
    """The batch with its tensors on a device."""
    return _mapped(batch, lambda value: value.to(device))


def _rows(batch: Batch, rows: slice) -> Batch:
    part = _mapped(batch, lambda value: value[rows])
    part.rows, part.completions = batch.rows[rows], batch.completions[rows]
    width = int(part.mask.sum(dim=1).max())
    return _mapped(part, lambda value: value[:, :width] if value.dim() == 2 else value)


def _mapped(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    return Batch(**{k: change(v) if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()})


@torch.no_grad()
def _teacher_states(batch: Batch, policy: Policy, config: recipe.Distill) -> torch.Tensor | None:
    """States of the teacher at the completion tokens, [B, T, H], if the signal needs its whole distribution."""
    if config.signal.kind not in ("full", "topk") and config.signal.entropy_gate is None:
        return None
    engine, view = policy.side(teacher_name(config))
    ids = [completion.ids for completion in batch.completions]
    with using(engine.model, view):
        states = completion_states(engine.head, [row.teacher for row in batch.rows], ids, engine.cache_use.expands)
    return torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
