"""The reference engine, on transformers: it can do everything the protocol names."""

import gc
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from copsd_bench.engine.context import Context
from copsd_bench.engine.decode import Decoder, Row
from copsd_bench.engine.encode import Conversation, Encoder
from copsd_bench.engine.head import Head
from copsd_bench.engine.images import PixelLimits
from copsd_bench.engine.kv import cache_use, whole
from copsd_bench.engine.prefix import Prefixes
from copsd_bench.engine.protocol import Capability, Completion, Prompt, Sampling, TokenScores, View
from copsd_bench.engine.sample import RowStream
from copsd_bench.engine.score import score_rows
from copsd_bench.engine.states import batches, completion_states
from copsd_bench.engine.turns import TURNS
from copsd_bench.engine.views import decoder_layer, decoder_layers, using
from copsd_bench.errors import CopsdError

DEFAULT_BATCH = {"cpu": 64, "cuda": 128}


class TransformersEngine:
    """One model in memory, looked at through views.

    Views change the model while they are in use, so every method that runs it waits for its turn (`turns`): threads
    may share an engine.

    Args:
        path: folder with safetensors weights, config and tokenizer.
        adapters: PEFT adapter folders by name.
        dtype: torch dtype name, e.g. `bfloat16`.
        device: torch device, e.g. `cpu`, `cuda`.
        batch_size: most rows decoded together; None chooses by device.
        trust_remote_code: run model code that comes with the weights.
        packed: faster on a CPU, for inference only: training needs the weights as they are.
        limits: pixels of each image where nothing else is said.
    """

    capabilities: frozenset[Capability] = frozenset(
        {"generate", "score", "activations", "interventions", "adapters", "entropy", "divergence"}
    )

    def __init__(
        self,
        path: Path,
        adapters: Mapping[str, Path] | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        batch_size: int | None = None,
        trust_remote_code: bool = False,
        packed: bool = False,
        limits: PixelLimits | None = None,
    ) -> None:
        from copsd_bench.engine.load import load_model

        loaded = load_model(path, adapters or {}, dtype, device, trust_remote_code, packed)
        self.model = loaded.model
        self.tokenizer = loaded.tokenizer
        self.max_length = loaded.max_length
        self.eos_ids = loaded.eos_ids
        self.batch_size = batch_size or DEFAULT_BATCH.get(torch.device(device).type, 32)
        self.encode_prompt = Encoder(loaded.tokenizer, loaded.processor, loaded.max_length, limits=limits)
        self.head = Head(self.model)
        with using(self.model, View()):  # the architecture decides; an adapter may only magnify rounding
            self.cache_use = cache_use(self.head)
        if not self.cache_use.batches:
            logging.getLogger(__name__).warning(
                "%s answers otherwise with its cache than without: every token takes a full pass, slow but right.",
                path.name,
            )
        self.turns = TURNS
        if loaded.processor is not None:
            self.capabilities = self.capabilities | {"images"}

    def close(self) -> None:
        """Give the memory of the weights back; the engine cannot be used afterwards."""
        with self.turns:
            del self.model, self.head
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def encode(
        self, conversation: Conversation | str, context: Context | None = None, limits: PixelLimits | None = None
    ) -> Prompt:
        """See `Encoder`."""
        return self.encode_prompt(conversation, context, limits)

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the loaded adapters."""
        return frozenset(getattr(self.model, "peft_config", ()))

    @property
    def placeholder(self) -> int | None:
        """The token that stands for pixels; None for a text-only model."""
        return self.encode_prompt.placeholder

    @property
    def vocabulary_size(self) -> int:
        """Logits at a position, tokens that pad the vocabulary included."""
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def depth(self) -> int:
        """Number of decoder blocks."""
        return len(decoder_layers(self.model))

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(self.model.config.get_text_config().hidden_size)

    def check_window(self, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]]) -> None:
        """Refuse rows that do not fit the context window.

        Raises:
            CopsdError: a prompt and its completion exceed the window.
        """
        for prompt, completion in zip(prompts, completions, strict=True):
            if len(prompt.ids) + len(completion) > self.max_length:
                raise CopsdError(
                    f"A prompt of {len(prompt.ids)} and a completion of {len(completion)} tokens exceed the model's "
                    f"context window of {self.max_length} tokens."
                )

    def add_adapter(self, name: str, folder: Path) -> None:
        """Load a further adapter onto the same weights; views without it are as before.

        Raises:
            CopsdError: the adapter does not fit.
        """
        from copsd_bench.engine.load import with_adapter

        with self.turns:
            self.model = with_adapter(self.model, name, folder)
            self.head = Head(self.model)

    def generate(
        self,
        view: View,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int] | None = None,
        on_complete: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Sample one completion a prompt, longest prompts first so that the batch shrinks evenly.

        Args:
            view: how to look at the weights.
            prompts: one a completion; the same Prompt object several times is prefilled once.
            sampling: shared by all rows.
            seeds: random stream of each row; needed when the temperature is above 0.
            on_complete: called with the row's index as each row finishes.
        """
        if sampling.temperature > 0 and seeds is None:
            raise CopsdError("Sampling at a temperature above 0 needs one seed a prompt.")
        results: dict[int, Completion] = {}

        def finished(i: int) -> Callable[[Completion], None]:
            def done(completion: Completion) -> None:
                results[i] = completion
                if on_complete is not None:
                    on_complete(i, completion)

            return done

        rows = [
            Row(prompt, sampling, RowStream(seeds[i] if seeds is not None else 0), finished(i))
            for i, prompt in enumerate(prompts)
        ]
        waiting = sorted(rows, key=lambda row: len(row.prompt.ids))

        def pull(free: int) -> list[Row]:
            return [waiting.pop() for _ in range(min(free, len(waiting)))]

        self.decode(view, pull)
        return [results[i] for i in range(len(prompts))]

    def decode(self, view: View, pull: Callable[[int], Sequence[Row]]) -> None:
        """Decode rows as `pull` hands them over (see `Decoder.run`)."""
        with self.turns, using(self.model, view):
            size, use, never = self.batch_size, self.cache_use, self.placeholder
            Decoder(self.head, self.tokenizer, self.eos_ids, self.max_length, size, use, never).run(pull)

    def sharing(self) -> Prefixes | None:
        """What computes the common part of prompts once, for one view; None where this model's cache cannot be
        repeated."""
        return Prefixes(self.head, self.cache_use.joins) if self.cache_use.expands else None

    def score(
        self,
        view: View,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[int]],
        entropy: bool = False,
        on_complete: Callable[[int, TokenScores], None] | None = None,
    ) -> list[TokenScores]:
        """Score given completion ids (see `score_rows`)."""
        self.check_window(prompts, completions)
        with self.turns, using(self.model, view):
            return score_rows(self.head, prompts, completions, self.sharing(), entropy, on_complete)

    @torch.inference_mode()
    def states(self, view: View, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """States [completion, H] that predict each completion token under a view (see `completion_states`)."""
        self.check_window(prompts, completions)
        results: dict[int, torch.Tensor] = {}
        with self.turns, using(self.model, view):
            prefixes = self.sharing()
            for rows in batches(completions, (self.head, prompts)):
                parts = [prompts[i] for i in rows], [completions[i] for i in rows]
                results |= zip(rows, completion_states(self.head, *parts, prefixes), strict=True)
        return [results[i] for i in range(len(prompts))]

    @torch.inference_mode()
    def activations(self, view: View, prompts: Sequence[Prompt], layers: Sequence[int]) -> list[torch.Tensor]:
        """Residual stream at the input of each layer under the view: one [layers, tokens, hidden] a prompt."""
        self.check_window(prompts, [()] * len(prompts))
        blocks = {layer: decoder_layer(self.model, layer) for layer in layers}
        results = []
        with self.turns, using(self.model, view):
            for prompt in prompts:
                seen: dict[int, torch.Tensor] = {}
                handles = [
                    blocks[layer].register_forward_pre_hook(_keep(seen, layer), with_kwargs=True) for layer in layers
                ]
                try:
                    whole(self.head, prompt, [])
                finally:
                    for handle in handles:
                        handle.remove()
                results.append(torch.stack([seen[layer][0] for layer in layers]))
        return results


def _keep(seen: dict[int, torch.Tensor], layer: int) -> Any:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen[layer] = args[0] if args else kwargs["hidden_states"]

    return hook


def eos_ids(tokenizer: Any, *configs: Any) -> frozenset[int]:
    """Ids that end an answer: the tokenizer's and the generation configuration's."""
    ids: set[int] = set()
    for value in (tokenizer.eos_token_id, *(getattr(config, "eos_token_id", None) for config in configs)):
        if isinstance(value, Iterable):
            ids.update(value)
        elif value is not None:
            ids.add(value)
    return frozenset(ids)
