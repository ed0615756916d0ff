"""The throughput engine, on vLLM: generation with adapters chosen per request; scoring and steering are not its job."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from copsd_bench.engine.context import Context
from copsd_bench.engine.encode import Conversation, Encoder
from copsd_bench.engine.images import PixelLimits, Processor
from copsd_bench.engine.protocol import Capability, Completion, Prompt, Sampling, StopReason, TokenScores, View
from copsd_bench.engine.vllm_images import check_expanded, request_of
from copsd_bench.engine.vllm_launch import launch
from copsd_bench.errors import CopsdError, ExitCode, unknown_name

if TYPE_CHECKING:
    import torch


class VllmEngine:
    """A vLLM engine that belongs to this process, with continuous batching over all its callers.

    vLLM computes in child processes. Every row is one request to them: rows finish and return one by one, and rows of
    several calls, threads and adapters share a batch. Images go to vLLM as they are, and what it makes of
    a prompt must be the encoded one. `close` ends the children; so does the end of the interpreter.

    Args:
        path: folder with safetensors weights, config and tokenizer.
        adapters: PEFT LoRA folders by name, on the language model alone.
        dtype: torch dtype name, e.g. `bfloat16`.
        max_model_len: context window in tokens; None takes the model's own.
        engine_args: further vLLM engine arguments by name, e.g. `{"tensor_parallel_size": 2}`.
        trust_remote_code: run model code that comes with the weights.

    Raises:
        CopsdError: vLLM is not installed, an engine argument is unknown, or a model or adapter cannot be loaded.
    """

    capabilities: frozenset[Capability] = frozenset({"generate", "adapters"})

    def __init__(
        self,
        path: Path,
        adapters: Mapping[str, Path] | None = None,
        dtype: str = "bfloat16",
        max_model_len: int | None = None,
        engine_args: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self._vllm = launch(path, adapters or {}, dtype, max_model_len, engine_args or {}, trust_remote_code)
        self._names = map(str, count())
        self.tokenizer, processor, self.eos_ids = _load_tokenizer(path, trust_remote_code)
        self.max_length = self._vllm.max_model_len
        self.batch_size = self._vllm.max_num_seqs
        self.encode_prompt = Encoder(self.tokenizer, processor, self.max_length, keeps_images=True)
        if processor is not None:
            self.capabilities = self.capabilities | {"images"}

    def encode(
        self, conversation: Conversation | str, context: Context | None = None, limits: PixelLimits | None = None
    ) -> Prompt:
        """See `Encoder`."""
        return self.encode_prompt(conversation, context, limits)

    def generate(
        self,
        view: View,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int] | None = None,
        on_complete: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Sample one completion a prompt.

        Args:
            view: the bare weights or an adapter; an intervention is refused.
            prompts: one a completion; what they begin with in common is computed once.
            sampling: shared by all rows.
            seeds: random stream of each row; needed when the temperature is above 0.
            on_complete: called in this thread with the row's index as each row finishes.
        """
        if sampling.temperature > 0 and seeds is None:
            raise CopsdError("Sampling at a temperature above 0 needs one seed a prompt.")
        rows: dict[Future[Completion], int] = {}
        results: dict[int, Completion] = {}
        try:
            for i, prompt in enumerate(prompts):
                rows[self.submit(view, prompt, sampling, seeds[i] if seeds is not None else 0)] = i
            for future in as_completed(rows):
                results[rows[future]] = completion = future.result()
                if on_complete is not None:
                    on_complete(rows[future], completion)
        finally:
            for future in rows:
                future.cancel()
        return [results[i] for i in range(len(prompts))]

    def submit(self, view: View, prompt: Prompt, sampling: Sampling, seed: int = 0) -> "Future[Completion]":
        """Hand over one row; may be called from any thread.

        Args:
            view: the bare weights or an adapter.
            prompt: encoded by this engine.
            sampling: how to draw; row `seed` matters above temperature 0.
            seed: the row's own random stream.

        Returns:
            A future of the completion; cancelling it ends the row.

        Raises:
            CopsdError: the view or prompt needs what vLLM cannot do here, or the prompt fills the context window.
        """
        if view.intervention is not None:
            _refuse("steer the residual stream (intervention)")
        if view.adapter is not None and view.adapter not in self._vllm.adapters:
            raise unknown_name("adapter", view.adapter, [*self._vllm.adapters, "(none: the bare weights)"])
        if len(prompt.ids) >= self.max_length:
            raise CopsdError(
                f"A prompt of {len(prompt.ids)} tokens does not fit the context window of {self.max_length}; "
                "shorten it or start the engine with a larger `max_model_len`."
            )
        row = self._complete(view, prompt, sampling, seed)
        return asyncio.run_coroutine_threadsafe(row, self._vllm.loop)

    def score(
        self, view: View, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]], entropy: bool = False
    ) -> list[TokenScores]:
        """Refused: vLLM cannot score given tokens while adapters are loaded."""
        _refuse("score given tokens")

    def activations(self, view: View, prompts: Sequence[Prompt], layers: Sequence[int]) -> "list[torch.Tensor]":
        """Refused: vLLM does not show its residual stream."""
        _refuse("return activations")

    def replace_adapter(self, name: str, folder: Path) -> None:
        """Let an adapter's name stand for another folder from now on; of the rank the engine was started for, or less.

        Args:
            name: of an adapter given at the start.
            folder: PEFT LoRA folder that was not handed over before.

        Raises:
            CopsdError: no such adapter, or vLLM cannot load the new one.
        """
        if name not in self._vllm.adapters:
            raise unknown_name("adapter", name, self._vllm.adapters)
        try:
            self._vllm.replace_adapter(name, folder)
        except Exception as error:  # whatever vLLM raises for a folder it cannot use
            raise CopsdError(f"vLLM cannot load {folder}: {self._vllm.reason(error)}.", ExitCode.MODEL) from error

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the loaded adapters."""
        return frozenset(self._vllm.adapters)

    @property
    def unfinished(self) -> int:
        """Rows under way."""
        return self._vllm.engine.get_num_unfinished_requests()

    def close(self) -> None:
        """End vLLM's processes; the engine cannot be used afterwards."""
        self._vllm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _complete(self, view: View, prompt: Prompt, sampling: Sampling, seed: int) -> Completion:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or 0,
            # Unsigned, as -1 would mean "no seed" to vLLM.
            seed=seed % (1 << 63) if sampling.temperature > 0 else None,
            stop=list(sampling.stop),
            stop_token_ids=sorted(self.eos_ids),
            logprobs=0,  # of the sampled token alone
            logit_bias=None if self.encode_prompt.placeholder is None else {self.encode_prompt.placeholder: -100.0},
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        tokens = request_of(prompt, self.tokenizer)
        adapter = self._vllm.adapters[view.adapter] if view.adapter is not None else None
        try:
            async for output in self._vllm.engine.generate(tokens, params, next(self._names), lora_request=adapter):
                final = output
        except Exception as error:  # its validation errors; a failed step or a dead engine has a class of its own
            self._vllm.keep_log()
            raise CopsdError(
                f"vLLM could not generate: {self._vllm.reason(error)} (its log: {self._vllm.log}).", ExitCode.RUN
            ) from error
        check_expanded(prompt, final.prompt_token_ids)
        return self._completion(final.outputs[0], sampling)

    def _completion(self, output: Any, sampling: Sampling) -> Completion:
        ids = tuple(output.token_ids)
        # Decoded whole, as the transformers engine does: vLLM's own text leaves out bytes of an unfinished character.
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        reason: StopReason = "stop"
        if output.finish_reason == "length":
            reason = "max_tokens" if len(ids) >= sampling.max_tokens else "model_length"
        elif output.finish_reason != "stop":
            raise CopsdError(f"vLLM ended a row with {output.finish_reason!r}; see {self._vllm.log}.", ExitCode.RUN)
        cuts = [at for at in map(text.find, sampling.stop) if at >= 0]
        return Completion(
            ids=ids,
            text=text[: min(cuts)] if cuts else text,
            logprobs=tuple(step[token].logprob for step, token in zip(output.logprobs, ids, strict=True)),
            entropies=(),
            stop_reason=reason,
        )


class VllmWorker:
    """What the Inspect provider asks of a worker, on an engine that batches by itself.

    Args:
        engine: a running engine.
        view: how to look at the weights.
        identity: digest of all that decides the answers, as it was when the engine was loaded.
    """

    def __init__(self, engine: VllmEngine, view: View, identity: str = "") -> None:
        self.engine = engine
        self.view = view
        self.identity = identity
        self.closed = False
        self.submit: Callable[[Prompt, Sampling, int], Future[Completion]] = partial(engine.submit, view)

    def close(self) -> None:
        """Mark the worker as closed; the engine, which others may share, is closed by its owner."""
        self.closed = True


def _refuse(what: str) -> NoReturn:
    raise CopsdError(f"The engine 'vllm' cannot {what}; use the engine 'transformers' for that.")


def _load_tokenizer(path: Path, trust_remote_code: bool) -> tuple[Any, Processor | None, frozenset[int]]:
    """The tokenizer, the processor of images if it has one, and the ids that end an answer as in the other engine."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from copsd_bench.engine.transformers_engine import eos_ids

    common: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(path, **common)
    config = AutoConfig.from_pretrained(path, **common)
    try:
        generation = GenerationConfig.from_pretrained(path, local_files_only=True)
    except OSError:  # the file is optional
        generation = GenerationConfig.from_model_config(config)
    vision = hasattr(config, "vision_config")
    processor = Processor(path, tokenizer, config.image_token_id, trust_remote_code) if vision else None
    ends = eos_ids(tokenizer, generation, config.get_text_config())
    return (processor.tokenizer if processor is not None else tokenizer), processor, ends
