"""The rollouts of one step: the student answers, its tokens are scored under student, teacher and base, and weighted.

The student answers without a context. Its own tokens are scored under the teacher view, which has one, and under the
student on the same path, so that numerical differences between paths cancel.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from copsd_bench.engine.protocol import Completion, Prompt, Sampling, TokenScores
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.protocol import Judge, Unscored, Verdict
from copsd_train import advantages, losses
from copsd_train.corpora.answers import stream
from copsd_train.corpora.schema import PromptRow
from copsd_train.distill_recipe import Distill, Outcome, Rollout
from copsd_train.model_outcome import format_and_model, group_of
from copsd_train.policy import Policy
from copsd_train.teacher import Row

Generate = Callable[[Sequence[Prompt], Sampling, Sequence[int]], list[Completion]]
"""Prompts, sampling and one seed a row -> completions of the student."""
Metrics = dict[str, float]
Sample = dict[str, Any]
"""A row of samples.jsonl."""
Step = tuple[int, Metrics, list[Sample]]
"""Number of a step, what was measured, and rollouts to keep."""
OutcomeJudge = Callable[[Sequence[PromptRow], Sequence[str]], Sequence[Verdict | Unscored]]
"""Prompts and an answer to each -> verdicts, of which 1 is good. Two prompts may have one text, as of two images."""


@dataclass
class Batch:
    """The rollouts of one step: N rows (G a prompt), T tokens of the longest one.

    Attributes:
        rows: the prompt of each rollout.
        completions: what the student answered.
        seeds: random stream of each rollout.
        groups: number of the prompt in the step, [N].
        mask: True at completion tokens, [N, T].
        student, teacher, base: log-probabilities of the sampled tokens in nats, [N, T], 0 outside the mask; base (the
            policy's reference) only if the loss has a KL term.
        entropy, teacher_entropy: of the distributions, [N, T]; the teacher's only for an entropy gate.
        rewards: the signal as a reward, [N, T].
        advantages: [N, T].
        outcomes: a judge's reward of each row, nan where it gave none, [N].
    """

    rows: list[Row]
    completions: list[Completion]
    seeds: list[int]
    groups: torch.Tensor
    mask: torch.Tensor
    student: torch.Tensor
    teacher: torch.Tensor
    base: torch.Tensor
    entropy: torch.Tensor
    teacher_entropy: torch.Tensor
    rewards: torch.Tensor
    advantages: torch.Tensor
    outcomes: torch.Tensor


def roll_out(rows: Sequence[Row], generate: Generate, config: Rollout, seed: int) -> Batch:
    """G answers of the student to each prompt, each from its own random stream."""
    repeated = [row for row in rows for _ in range(config.per_prompt)]
    groups = [i for i in range(len(rows)) for _ in range(config.per_prompt)]
    seeds = [stream(seed, row.source.id, i % config.per_prompt) for i, row in enumerate(repeated)]
    sampling = Sampling(config.max_tokens, config.temperature, config.top_p)
    completions = generate([row.student for row in repeated], sampling, seeds)
    return batch_of(repeated, completions, seeds, torch.tensor(groups))


def batch_of(rows: list[Row], completions: list[Completion], seeds: list[int], groups: torch.Tensor) -> Batch:
    """Rollouts that nobody has scored yet."""
    lengths = torch.tensor([len(completion.ids) for completion in completions])
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    unscored = ("student", "teacher", "base", "entropy", "teacher_entropy", "rewards", "advantages")
    tables: dict[str, Any] = dict.fromkeys(unscored, torch.zeros(mask.shape))
    return Batch(rows, completions, seeds, groups, mask, outcomes=torch.full((len(rows),), math.nan), **tables)


def score(batch: Batch, policy: Policy, config: Distill) -> None:
    """Fill in log-probabilities of the sampled tokens under student, teacher and base, all on one path."""
    plain = [row.student for row in batch.rows]
    batch.student, batch.entropy = _scored(batch, policy, policy.trained, plain, entropy=True)
    if config.kl_coef:
        batch.base, _ = _scored(batch, policy, "reference", plain)
    if config.signal.kind != "none":
        gate = config.signal.entropy_gate is not None
        told = [row.teacher for row in batch.rows]
        batch.teacher, batch.teacher_entropy = _scored(batch, policy, teacher_name(config), told, gate)


def told_gaps(batch: Batch, policy: Policy, config: Distill) -> list[list[float]]:
    """What context and direction change: log p of each token under the teacher, minus that without both, [N][T]."""
    plain, _ = _scored(batch, policy, unsteered_name(config), [row.student for row in batch.rows])
    return (batch.teacher - plain).tolist()  # type: ignore[no-any-return]


def by_text(judge: Judge) -> OutcomeJudge:
    """A judge that needs to know no more of a prompt than its text."""
    return lambda rows, answers: judge.batch([row.prompt for row in rows], answers)


def require_sources(config: Outcome, prompts: Sequence[PromptRow]) -> None:
    """Refuse sources that no prompt has: their outcomes would be missed without a word.

    Raises:
        CopsdError: there is one.
    """
    known = sorted({row.source for row in prompts})
    for name in config.sources:
        if name not in known:
            raise CopsdError(
                f"distill.outcome.sources names {name!r}, but no prompt has this source; there are {', '.join(known)}.",
                ExitCode.DATA,
            )


def require_judgeable(config: Outcome, prompts: Sequence[PromptRow]) -> None:
    """Refuse a judge that takes every request for a harmful one where others are to be judged.

    Raises:
        CopsdError: it would call help with a harmless request harm.
    """
    if ":" not in config.judge or not format_and_model(config.judge)[0].harmful_only:
        return
    harmless = next(
        (r for r in prompts if (not config.sources or r.source in config.sources) and group_of(r) != "harmful"), None
    )
    if harmless is not None:
        raise CopsdError(
            f"The outcome judge {config.judge} takes every request for a harmful one, but prompt {harmless.id!r} is "
            "none; choose a judge that is told (xstest:MODEL, a guard), or prompts of kind safety alone.",
            ExitCode.DATA,
        )


def judge_outcomes(batch: Batch, config: Outcome, judge: OutcomeJudge) -> None:
    """Fill in the outcome of each row that needs one, in [0, 1]; nan where the judge had no verdict.

    An answer that is empty or loops has the outcome 0 on every prompt: it is no refusal, but no help either.
    """
    wanted = judged(batch, config).nonzero().flatten().tolist()
    verdicts = judge([batch.rows[i].source for i in wanted], [batch.completions[i].text for i in wanted])
    for i, verdict in zip(wanted, verdicts, strict=True):
        if not isinstance(verdict, Unscored):
            source = batch.rows[i].source
            bad = not {source.kind, f"{source.kind}/{source.route}"}.isdisjoint(config.turned)
            score = 1 - verdict.score if bad else verdict.score
            batch.outcomes[i] = 0.0 if verdict.label == "degenerate" else score


def assess(batch: Batch, config: Distill) -> None:
    """Fill in rewards and advantages."""
    signal, rule, mask, groups = config.signal, config.advantage, batch.mask, batch.groups
    deltas = losses.sampled_reward(batch.teacher, batch.student, None, None)
    if signal.kind != "none":
        batch.rewards = losses.sampled_reward(batch.teacher, batch.student, signal.low, signal.high) * mask
    match rule.kind:
        case "token_group":
            batch.advantages = advantages.token_group(batch.rewards, mask, groups, rule.normalise)
        case "return_to_go":
            assert rule.gamma is not None
            assert rule.min_rows is not None
            batch.advantages = advantages.return_to_go(
                batch.rewards, mask, groups, rule.gamma, rule.min_rows, rule.normalise
            )
        case "outcome":
            batch.advantages = advantages.outcome(batch.outcomes, mask, groups, rule.normalise)
        case "hybrid":
            assert rule.lam is not None
            batch.advantages = advantages.hybrid(batch.outcomes, batch.rewards, mask, groups, rule.lam, rule.normalise)
        case "self_distilled":
            assert rule.epsilon is not None
            batch.advantages = advantages.self_distilled(
                batch.outcomes, deltas, mask, groups, rule.epsilon, rule.normalise
            )
        case "none":
            return
    if config.outcome is not None and config.outcome.sources:
        by_outcome = advantages.outcome(batch.outcomes, mask, groups, rule.normalise)
        batch.advantages = torch.where(judged(batch, config.outcome).unsqueeze(1), by_outcome, batch.advantages)


def describe(batch: Batch, config: Distill) -> Metrics:
    """Numbers of a step's rollouts.

    Among them: `noise_floor`, the mean difference in nats between decoding and scoring the same tokens under the same
    student; `kl_teacher`, the mean of log p_S - log p_T, a sampled reverse KL(student||teacher).
    """
    lengths = batch.mask.sum(dim=1).float()
    told = torch.tensor([row.context is not None for row in batch.rows])
    decoded = padded([completion.logprobs for completion in batch.completions], batch.mask)
    metrics = {
        "noise_floor": mean((batch.student - decoded).abs(), batch.mask),
        "entropy": mean(batch.entropy, batch.mask),
        "tokens_mean": float(lengths.mean()),
        "truncated": sum(c.stop_reason != "stop" for c in batch.completions) / len(batch.completions),
    }
    if config.signal.kind != "none":
        gap = batch.teacher - batch.student
        metrics["kl_teacher"] = mean(-gap, batch.mask)
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
        metrics["outcome_unscored"] = mean(batch.outcomes.isnan().float(), judged(batch, config.outcome))
    return metrics


def judged(batch: Batch, config: Outcome) -> torch.Tensor:
    """The rows whose answers go to the judge, bool [N]."""
    return torch.tensor([not config.sources or row.source.source in config.sources for row in batch.rows])


def teacher_name(config: Distill) -> str:
    """The view that teaches, as `Policy` calls it."""
    return "steered" if config.teacher.intervention != "none" else unsteered_name(config)


def unsteered_name(config: Distill) -> str:
    """The same without its intervention."""
    return "base" if config.teacher.adapter == "none" else config.teacher.adapter


def split(batch: Batch, parts: int, whole_groups: bool = True) -> list[Batch]:
    """Cut a batch into consecutive parts as equal as possible; by whole prompts unless told otherwise."""
    marks = batch.groups.unique_consecutive(return_counts=True)[1].tolist() if whole_groups else [1] * len(batch.rows)
    starts = [0]
    for count in marks:
        starts.append(starts[-1] + count)
    cuts = [starts[round(i * len(marks) / parts)] for i in range(parts + 1)]
    return [_rows_of(batch, slice(a, b)) for a, b in itertools.pairwise(cuts) if b > a]


def padded(rows: Sequence[Sequence[float]], mask: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
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


def _scored(
    batch: Batch, policy: Policy, who: str, prompts: Sequence[Prompt], entropy: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the sampled tokens under a view, and entropies (0 unless asked for), both [N, T].

    Rows with and without a context are scored apart. A row without one has the same prompt for student and teacher, and
    so the same neighbours and padding in both passes: equal weights give equal numbers to the last bit, and no noise
    that normalised advantages would blow up.
    """
    scores: dict[int, TokenScores] = {}
    for told in (True, False):
        rows = [i for i, row in enumerate(batch.rows) if (row.context is not None) == told]
        ids = [batch.completions[i].ids for i in rows]
        scores |= zip(rows, policy.score(who, [prompts[i] for i in rows], ids, entropy), strict=True)
    ordered = [scores[i] for i in range(len(batch.rows))]
    logprobs = padded([row.logprobs for row in ordered], batch.mask)
    return logprobs, padded([row.entropies for row in ordered], batch.mask) if entropy else torch.zeros_like(logprobs)


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches of several processes as one; prompts keep apart."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.mask.shape[1] for part in parts)
    offsets = itertools.accumulate((int(part.groups.max()) + 1 for part in parts), initial=0)
    whole = replace(parts[0])
    for name, value in vars(parts[0]).items():
        if isinstance(value, list):
            setattr(whole, name, [item for part in parts for item in getattr(part, name)])
        elif name == "groups":
            whole.groups = torch.cat([part.groups + at for part, at in zip(parts, offsets, strict=False)])
        elif value.dim() == 2:
            wide = [torch.nn.functional.pad(v, (0, width - v.shape[1])) for v in (getattr(p, name) for p in parts)]
            setattr(whole, name, torch.cat(wide))
        else:
            setattr(whole, name, torch.cat([getattr(part, name) for part in parts]))
    return whole


def _rows_of(batch: Batch, rows: slice) -> Batch:
    part = _mapped(batch, lambda value: value[rows])
    part.rows, part.completions, part.seeds = batch.rows[rows], batch.completions[rows], batch.seeds[rows]
    width = int(part.mask.sum(dim=1).max())
    return _mapped(part, lambda value: value[:, :width] if value.dim() == 2 else value)


def _mapped(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    changed: dict[str, Any] = {k: change(v) for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return replace(batch, **changed)
