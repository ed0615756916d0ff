"""Direct preference optimisation with soft labels: encode, update, and the two loops (given pairs, fresh pairs).

DPO: arXiv 2305.18290. Soft labels of AI feedback: Constitutional AI, arXiv 2212.08073, section 4.1.
"""

import itertools
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from copsd_bench.engine.protocol import Prompt
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError, ExitCode
from copsd_train import losses
from copsd_train.corpora.answers import stream
from copsd_train.corpora.schema import PairRow
from copsd_train.distill import prompts_of_step
from copsd_train.feedback import Comparer
from copsd_train.optimiser import Updater, not_finite
from copsd_train.pair_losses import dpo_margin, soft_dpo
from copsd_train.policy import CompletionModel, Policy
from copsd_train.preference_recipe import Preference
from copsd_train.rollouts import Batch, Generate, Metrics, joined, roll_out
from copsd_train.sft import batches, response_encoder
from copsd_train.teacher import Row


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt as token ids, and the probability that the first is the better one."""

    prompt: Prompt
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    label: float

    @property
    def size(self) -> int:
        """Tokens of the prompt and the longer answer."""
        return len(self.prompt.ids) + max(len(self.chosen), len(self.rejected))


def build_pairs(rows: Sequence[PairRow], engine: TransformersEngine, config: Preference) -> list[Pair]:
    """Encode pairs; those within `min_margin` of a tie or with an answer longer than `max_tokens` are left out.

    Raises:
        CopsdError: no pair is left.
    """
    encode = response_encoder(engine)
    pairs = [
        Pair(
            engine.encode([{"role": "user", "content": row.prompt}]),
            encode(row.chosen, row.chosen_complete),
            encode(row.rejected, row.rejected_complete),
            row.label,
        )
        for row in rows
    ]
    faults = [_fault(pair, engine, config) for pair in pairs]
    kept = [pair for pair, fault in zip(pairs, faults, strict=True) if fault is None]
    if not kept:
        raise CopsdError(
            f"{_none_left(faults)}; raise preference.max_tokens, or lower preference.min_margin.", ExitCode.DATA
        )
    return kept


def _fault(pair: Pair | None, engine: TransformersEngine, config: Preference) -> str | None:
    """Why a pair is not learned from, or None."""
    if pair is None:
        return "got no choice from feedback"
    if abs(pair.label - 0.5) < config.min_margin:
        return f"are closer to a tie than preference.min_margin = {config.min_margin}"
    if pair.size > min(config.max_tokens, engine.max_length):
        return f"do not fit into preference.max_tokens = {config.max_tokens}"
    return None


def _none_left(faults: Sequence[str | None]) -> str:
    counts = Counter(fault for fault in faults if fault is not None)
    return f"Of {len(faults)} pairs none is left ({', '.join(f'{n} {fault}' for fault, n in counts.most_common())})"


def update(pairs: Sequence[Pair], policy: Policy, updater: Updater, config: Preference) -> Metrics:
    """One optimiser update: the mean loss of all pairs, accumulated exactly over micro-batches.

    Args:
        pairs: of this step, the same in every process.
        policy: the student is trained in place; its view `reference` is what it must stay close to.
        updater: its optimiser.
        config: the stage.

    Returns:
        `margin` is beta times the student's preference beyond the reference's; `accuracy` the share of pairs in which
        it agrees with the label; `logratio_chosen` and `logratio_rejected` are log-ratios to the reference in nats.

    Raises:
        CopsdError: the loss or the gradient is not finite; the weights are as they were.
    """
    ranks = updater.ranks
    ordered = sorted(pairs, key=lambda pair: pair.size)
    # Sharded weights need every process in every forward pass: one without pairs repeats one that does not count.
    passes = math.ceil(len(ordered) / ranks.size / config.micro_batch_size)
    mine = ordered[ranks.rank :: ranks.size]
    totals: dict[str, float] = {}
    for at in range(0, passes * config.micro_batch_size, config.micro_batch_size):
        counted = mine[at : at + config.micro_batch_size]
        part = counted or ordered[:1]
        answers = [pair.chosen for pair in part] + [pair.rejected for pair in part]
        prompts = [pair.prompt for pair in part] * 2
        device = policy.engine.model.device
        labels = torch.tensor([pair.label for pair in part], device=device)
        weight = 1 / len(pairs) if counted else 0.0
        reference = _reference(policy, prompts, answers)

        def loss_of(
            states: torch.Tensor,
            head: losses.Head,
            answers: Sequence[tuple[int, ...]] = answers,
            labels: torch.Tensor = labels,
            reference: torch.Tensor = reference,
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            logprobs = answer_logprobs(states, head, answers)
            (chosen, rejected), (chosen_before, rejected_before) = logprobs.chunk(2), reference.chunk(2)
            margins = dpo_margin(chosen, rejected, chosen_before, rejected_before, config.beta)
            seen = {
                "margin": margins,
                "accuracy": ((margins > 0) == (labels > 0.5)).float(),
                "logratio_chosen": chosen - chosen_before,
                "logratio_rejected": rejected - rejected_before,
            }
            return soft_dpo(margins, labels), {name: value.detach() for name, value in seen.items()}

        with policy.training():
            per_pair, seen = policy.model(prompts, answers, loss_of)
            loss = weight * per_pair.sum()
            loss.backward()
        updater.accumulate()
        for name, values in {"loss": per_pair.detach(), **seen}.items():
            totals[name] = totals.get(name, 0.0) + weight * float(values.sum())
    metrics = dict(zip(totals, ranks.sum_numbers(list(totals.values())), strict=True))
    if not math.isfinite(metrics["loss"]):
        raise not_finite("loss")
    tokens = sum(len(pair.chosen) + len(pair.rejected) for pair in pairs)
    label = sum(pair.label for pair in pairs) / len(pairs)
    return {**metrics, "label": label, "tokens": float(tokens), **updater.update()}


def answer_logprobs(states: torch.Tensor, head: losses.Head, answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probability in nats of each whole answer, [N], from the states [N, T, H] that predict its tokens."""
    lengths = torch.tensor([len(answer) for answer in answers], device=states.device)
    mask = torch.arange(int(lengths.max()), device=states.device) < lengths.unsqueeze(1)
    ids = torch.zeros(mask.shape, dtype=torch.long, device=states.device)
    ids[mask] = torch.tensor([i for answer in answers for i in answer], device=states.device)
    return torch.where(mask, losses.chunked_logprobs(states, head, ids), 0.0).sum(dim=1)


@torch.no_grad()
def _reference(policy: Policy, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """`answer_logprobs` under the reference, in rows and on a path like the student's, so that rounding cancels."""
    engine, view = policy.side("reference")

    def logprobs(states: torch.Tensor, head: losses.Head) -> torch.Tensor:
        return answer_logprobs(states, head, answers)

    with engine.turns, using(engine.model, view):
        found: torch.Tensor = CompletionModel(engine.head)(prompts, answers, logprobs)
    return found


def loop(
    pairs: Sequence[Pair], policy: Policy, updater: Updater, config: Preference, seed: int, start: int
) -> Iterator[tuple[int, Metrics]]:
    """Step after step over given pairs from `start`, each with its metrics.

    Raises:
        CopsdError: a loss is not finite (which step).
    """
    tokens = [len(pair.chosen) + len(pair.rejected) for pair in pairs]
    steps = batches(tokens, config.batch_size, None, seed, "preference")
    for number, chosen in enumerate(itertools.islice(steps, start, total_steps(config, len(pairs))), start):
        began = time.perf_counter()
        updater.ranks.seed(seed, "preference", number)
        yield number + 1, _timed(number, [pairs[i] for i in chosen], policy, updater, config, began)


def online_loop(
    rows: Sequence[Row],
    policy: Policy,
    updater: Updater,
    generate: Generate,
    comparer: Comparer,
    config: Preference,
    seed: int,
    start: int,
) -> Iterator[tuple[int, Metrics, list[dict[str, Any]]]]:
    """As `loop`, on pairs sampled from the student at each step (arXiv 2402.04792); also yields rows of samples.jsonl.

    `unscored` is the share of pairs in which feedback chose none, `left_out` counts those that `build_pairs` would
    leave out.

    Args:
        rows: prompts.
        policy, updater, config, seed, start: as for `loop`.
        generate: answers of the student.
        comparer: labels the pairs.

    Raises:
        CopsdError: a loss is not finite, or no pair is left to learn from (which step).
    """
    assert config.rollout is not None
    ranks = updater.ranks
    if config.batch_size < ranks.size:
        raise CopsdError(f"preference.batch_size {config.batch_size} is less than {ranks.size} processes; raise it.")
    for number in range(start, total_steps(config, len(rows), online=True)):
        began = time.perf_counter()
        ranks.seed(seed, "preference", number)
        chosen = prompts_of_step(number, len(rows), config.batch_size, seed)
        mine = chosen[ranks.rank :: ranks.size]
        local = roll_out([rows[i] for i in mine], generate, config.rollout, stream(seed, "online", number))
        labels = _labels(local, comparer)
        batch = joined(ranks.gather(local))
        labels = [label for part in ranks.gather(labels) for label in part]
        fresh = _fresh(batch, labels)
        faults = [_fault(pair, policy.engine, config) for pair in fresh]
        pairs = [pair for pair, fault in zip(fresh, faults, strict=True) if pair is not None and fault is None]
        if not pairs:
            raise CopsdError(
                f"Step {number + 1}: {_none_left(faults)}; use another feedback.model, raise preference.max_tokens, or "
                "lower preference.min_margin.",
                ExitCode.RUN,
            )
        metrics = _timed(number, pairs, policy, updater, config, began)
        unscored = labels.count(None)
        metrics["unscored"] = unscored / len(labels)
        metrics["left_out"] = len(labels) - unscored - len(pairs)
        metrics["tokens_mean"] = float(batch.mask.sum(dim=1).float().mean())
        yield number + 1, metrics, _samples(number + 1, batch, labels)


def total_steps(config: Preference, rows: int, online: bool = False) -> int:
    """Steps of the stage: as said, or by the epochs; online an epoch holds whole steps only.

    Raises:
        CopsdError: the corpus has fewer pairs (online: prompts) than one step takes.
    """
    if config.batch_size > rows:
        what = "prompts" if online else "pairs"
        raise CopsdError(f"preference.batch_size is {config.batch_size}, but there are {rows} {what}; lower it.")
    return config.steps or config.epochs * (math.floor if online else math.ceil)(rows / config.batch_size)


def _timed(
    number: int, pairs: Sequence[Pair], policy: Policy, updater: Updater, config: Preference, began: float
) -> Metrics:
    try:
        metrics = update(pairs, policy, updater, config)
    except CopsdError as error:
        raise CopsdError(f"Step {number + 1}: {error}", error.code) from error
    metrics["time/tokens_per_second"] = metrics["tokens"] / (time.perf_counter() - began)
    return metrics


def _labels(batch: Batch, comparer: Comparer) -> list[float | None]:
    """The label of each pair of neighbours: probability that the first is better."""
    sources, texts = [row.source for row in batch.rows[::2]], [completion.text for completion in batch.completions]
    compared = comparer.compare(
        [source.kind for source in sources], [source.prompt for source in sources], texts[::2], texts[1::2]
    )
    return [None if comparison is None else comparison.label for comparison in compared]


def _fresh(batch: Batch, labels: Sequence[float | None]) -> list[Pair | None]:
    """Neighbours as pairs of exactly the tokens sampled; None where feedback chose none."""
    ids = [completion.ids for completion in batch.completions]
    return [
        None if label is None else Pair(batch.rows[2 * i].student, ids[2 * i], ids[2 * i + 1], label)
        for i, label in enumerate(labels)
    ]


def _samples(step: int, batch: Batch, labels: Sequence[float | None]) -> list[dict[str, Any]]:
    return [
        {
            "stage": "preference",
            "step": step,
            "id": batch.rows[2 * i].source.id,
            "kind": batch.rows[2 * i].source.kind,
            "answers": [batch.completions[2 * i].text, batch.completions[2 * i + 1].text],
            "label": label,
        }
        for i, label in enumerate(labels)
    ]
