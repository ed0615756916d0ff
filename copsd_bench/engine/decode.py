"""The decoding loop: rows join a running batch when there is room and leave it when they are finished."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from copsd_bench.engine.distributions import of_token
from copsd_bench.engine.head import Head, widened
from copsd_bench.engine.heap import release_memory
from copsd_bench.engine.kv import CacheUse, KvBatch, whole, worth_padding
from copsd_bench.engine.preallocated import preallocate
from copsd_bench.engine.prefix import Prefixes
from copsd_bench.engine.protocol import Completion, Prompt, Sampling, StopReason
from copsd_bench.engine.sample import RowStream, choose

PREFILL_TOKENS = 2048
"""Most prompt tokens (padding included, a shared beginning not) prefilled in one forward pass."""

SAMPLE_CELLS = 1 << 18
"""Most float32 logits (rows x vocabulary) sampled from together on a CPU. Arrays of 1 MiB stay in its cache; larger
ones the allocator gives back to the system and asks for again at every step."""


@dataclass(eq=False)
class Row:
    """A prompt on its way to a completion."""

    prompt: Prompt
    sampling: Sampling
    stream: RowStream
    done: Callable[[Completion], None]
    cancelled: Callable[[], bool] = lambda: False
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    finished: bool = False


class Decoder:
    """Decodes rows of one view with continuous batching.

    Args:
        head: a causal or vision-language model, already under the view.
        tokenizer: decodes completions.
        eos_ids: token ids that end a completion.
        max_length: the model's context window in tokens.
        batch_size: most rows decoded together.
        use: what the model's cache is good for.
        never: a token that is never chosen: an image's placeholder in an answer would ask for pixels it has not.
    """

    def __init__(
        self,
        head: Head,
        tokenizer: Any,
        eos_ids: frozenset[int],
        max_length: int,
        batch_size: int,
        use: CacheUse,
        never: int | None = None,
    ) -> None:
        self.head = head
        self.tokenizer = tokenizer
        self.eos_ids = eos_ids
        self.max_length = max_length
        self.batch_size = batch_size
        self.use = use
        self.never = never
        self.prefixes = Prefixes(head, use.joins)

    @torch.inference_mode()
    def run(self, pull: Callable[[int], Sequence[Row]]) -> None:
        """Decode until `pull` has no more rows.

        Args:
            pull: called with the number of free places; returns at most that many new rows, or none for now. The loop
                ends when it returns none while no row is being decoded.
        """
        if not self.use.batches:
            return self._run_uncached(pull)
        batch: KvBatch | None = None
        rows: list[Row] = []
        while True:
            live = [b for b, row in enumerate(rows) if not row.finished]
            # A finished row costs a little until the batch is repacked; repacking copies the cache. An eighth balances.
            if not live or self.batch_size - len(live) >= max(1, self.batch_size // 8):
                if batch is not None and 0 < len(live) < len(rows):
                    batch.select(torch.tensor(live, device=batch.mask.device))
                rows = [rows[b] for b in live]
                batch = batch if rows else None
                if batch is None or self.use.joins:
                    batch = self._admit(pull(self.batch_size - len(rows)), batch, rows)
                if batch is None:
                    return
            if batch is not None and any(not row.finished for row in rows):
                self._step(batch, rows)

    def _run_uncached(self, pull: Callable[[int], Sequence[Row]]) -> None:
        """Every token takes a full pass over its row: slow, and right for models whose state cannot be batched."""
        rows: list[Row] = []
        while True:
            rows = [row for row in rows if not row.finished]
            rows += pull(self.batch_size - len(rows))
            if not rows:
                return
            for row in rows:
                self._sample(whole(self.head, row.prompt, row.ids)[:, -1], [row])

    def _admit(self, new: Sequence[Row], batch: KvBatch | None, rows: list[Row]) -> KvBatch | None:
        """Prefill new rows, each distinct prompt once, sample their first token and join them to the batch."""
        if not new:
            return batch
        ordered = sorted(new, key=lambda row: len(row.prompt.ids))
        distinct = list({row.prompt.key: row.prompt for row in ordered}.values())
        shared = self.prefixes.length(distinct)
        # Caches that cannot be joined must be filled in one pass.
        padding = worth_padding(self.head.model)
        parts = [batch] if batch is not None else []
        for group in _groups(ordered, PREFILL_TOKENS, padding, shared) if self.use.joins else [ordered]:
            unique = list({row.prompt.key: row.prompt for row in group}.values())
            index = {prompt.key: i for i, prompt in enumerate(unique)}
            joined, states = self.prefixes.prefill(unique, shared)
            where = torch.tensor([index[row.prompt.key] for row in group], device=joined.mask.device)
            self._sample(states[where], group)
            if len(group) != len(unique):
                joined.select(where)
            rows.extend(group)
            parts.append(joined)
        first, *others = parts
        if others:
            first.join(*others)
        if batch is None and self.use.preallocates:
            preallocate(first.cache)
        if first.mask.device.type == "cpu":
            release_memory()  # of the prefill and of the copies that joining made, before the steps need theirs
        return first

    def _step(self, batch: KvBatch, rows: list[Row]) -> None:
        """Feed each row its last token and sample the next; finished rows are fed too and ignored."""
        # A row that ended at its first token is still in the batch; the values it computes are never read.
        tokens = torch.tensor([[row.ids[-1]] for row in rows], device=batch.mask.device)
        self._sample(batch.step(self.head, tokens), rows)

    def _sample(self, states: torch.Tensor, rows: Sequence[Row]) -> None:
        live = [b for b, row in enumerate(rows) if not row.finished]
        if not live:
            return
        for part in torch.tensor(live).split(self.head.positions_at_once()):
            logits = self.head.narrow_logits(states[part])
            few = max(1, SAMPLE_CELLS // logits.shape[-1]) if logits.device.type == "cpu" else len(logits)
            for some, narrow in zip(part.split(few), logits.split(few), strict=True):
                self._sample_some(widened(narrow), [rows[b] for b in some.tolist()])

    def _sample_some(self, logits: torch.Tensor, rows: Sequence[Row]) -> None:
        open_ = logits
        if self.never is not None:
            open_ = logits.index_fill(1, torch.tensor([self.never], device=logits.device), -torch.inf)
        chosen = choose(open_, [row.sampling for row in rows], [row.stream for row in rows])
        logprobs, entropies = of_token(logits, chosen)
        values = zip(rows, chosen.tolist(), logprobs.tolist(), entropies.tolist(), strict=True)
        for row, token, logprob, nats in values:
            row.ids.append(token)
            row.logprobs.append(logprob)
            row.entropies.append(nats)
            self._finish_if_over(row)

    def _finish_if_over(self, row: Row) -> None:
        stop_at = self._stop_string(row)
        reason: StopReason | None = None
        if row.ids[-1] in self.eos_ids or stop_at is not None:
            reason = "stop"
        elif len(row.ids) >= row.sampling.max_tokens:
            reason = "max_tokens"
        elif len(row.prompt.ids) + len(row.ids) >= self.max_length:
            reason = "model_length"
        if reason is None:
            row.finished = row.cancelled()
            return
        row.finished = True
        text = self.tokenizer.decode(row.ids, skip_special_tokens=True)
        row.done(
            Completion(
                ids=tuple(row.ids),
                text=text if stop_at is None else text[:stop_at],
                logprobs=tuple(row.logprobs),
                entropies=tuple(row.entropies),
                stop_reason=reason,
            )
        )

    def _stop_string(self, row: Row) -> int | None:
        """Where in the text the first stop string starts, if the newest token completed one."""
        if not row.sampling.stop:
            return None
        text = self.tokenizer.decode(row.ids, skip_special_tokens=True)
        found = [at for at in (text.find(stop) for stop in row.sampling.stop) if at >= 0]
        return min(found) if found else None


def _groups(rows: Sequence[Row], tokens: int, padding: float, shared: int) -> list[list[Row]]:
    """Split rows, sorted by length, into forward passes.

    One pass holds at most `tokens` tokens beyond those that all rows share, and `padding` of them at most are padding.
    """
    groups: list[list[Row]] = []
    own = 0  # tokens of the last group's rows without padding
    for row in rows:
        length = len(row.prompt.ids) - shared
        held = (len(groups[-1]) + 1) * length if groups else 0
        if groups and held <= tokens and held - (own + length) <= padding:
            groups[-1].append(row)
            own += length
        else:
            groups.append([row])
            own = length
    return groups
