"""The Inspect model provider `copsd/<model>`: exact token counts, true stop reasons, a random stream a sample."""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentImage,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelInfo,
    ModelOutput,
    ModelUsage,
    set_model_info,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from copsd_bench.engine.images import PixelLimits
from copsd_bench.engine.protocol import Completion, Prompt, Sampling
from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.errors import CopsdError, unknown_name

if TYPE_CHECKING:
    from copsd_bench.engine.vllm_engine import VllmWorker
    from copsd_bench.engine.worker import Worker

DEFAULT_MAX_TOKENS = 1024
TOKEN_IDS = "token_ids"
"""Key of `GenerateConfig.extra_body` that asks for the sampled ids, and of the output's metadata that holds them."""
JUDGED, RAW = "judged", "raw"
"""Key of `extra_body` for guard models: arguments of the chat template that wraps a whole exchange, or `raw`, the text
of the last message as it is."""
PIXELS = "pixels"
"""Key of `extra_body`: fewest and most pixels of each image, `[least, most]`, for processors that take limits."""
IMAGES = "image_sha256"
"""Key of the output's metadata: sha256 of each image of the prompt."""
UNSUPPORTED = ("frequency_penalty", "presence_penalty", "logit_bias", "best_of", "response_schema", "top_logprobs")


class CopsdAPI(ModelAPI):
    """A local model as an Inspect provider.

    Model args (`-M name=value`): `adapter`, `dtype`, `device`, `engine`, `batch_size`, `revision`,
    `trust_remote_code`, and `weights`, the identity digest `copsd-bench run` puts there so that Inspect's own run
    identity knows the weights; a digest that does not match the model is an error.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.spec = EngineSpec.from_model_args(model_name, model_args)
        self._worker = load_worker(self.spec)
        # Inspect's generation cache keys on the base URL, not on model args: as one, the identity of the weights keeps
        # two checkpoints of the same name from sharing answers.
        self.base_url = f"copsd:{self.worker.identity}"
        # Inspect looks a model's context window up by its name, and would load the model again to learn that name.
        set_model_info(f"copsd/{model_name}", ModelInfo(context_length=self.worker.engine.max_length))

    @property
    def worker(self) -> "Worker | VllmWorker":
        """What decodes; loaded again if its memory was given back meanwhile (`spec.release`)."""
        if self._worker.closed:
            self._worker = load_worker(self.spec)
        return self._worker

    def max_tokens(self) -> int:
        """Tokens of an answer when a task sets no limit."""
        return min(DEFAULT_MAX_TOKENS, self.worker.engine.max_length // 2)

    def max_connections(self) -> int:
        """Twice as many samples in flight as rows decode together: while Inspect logs some, others wait ready."""
        return 2 * self.worker.engine.batch_size

    def connection_key(self) -> str:
        """One pool of connections a model."""
        return f"copsd/{self.model_name}"

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Generate with the chat template applied once; returns when this row is finished, not when its batch is."""
        if tools:
            raise CopsdError("The copsd provider does not call tools; use an API or vLLM server provider for agents.")
        for name in UNSUPPORTED:
            if getattr(config, name):
                raise CopsdError(f"The copsd provider does not support {name!r}; remove it from the generate config.")
        extra = config.extra_body or {}
        for name in extra:
            if name not in (TOKEN_IDS, JUDGED, PIXELS):
                raise unknown_name("extra_body key of the copsd provider", name, (TOKEN_IDS, JUDGED, PIXELS))
        prompt = self._encode(messages(input), extra.get(JUDGED), extra.get(PIXELS))
        limit = self.max_tokens() if config.max_tokens is None else config.max_tokens
        sampling = Sampling(
            max_tokens=limit,
            temperature=config.temperature or 0.0,
            top_p=1.0 if config.top_p is None else config.top_p,
            top_k=config.top_k,
            stop=tuple(config.stop_seqs or ()),
        )
        seeds = _streams(prompt, config.seed, config.num_choices or 1)
        futures = [self.worker.submit(prompt, sampling, seed) for seed in seeds]
        try:
            completions = [await asyncio.wrap_future(future) for future in futures]
        finally:
            for future in futures:
                future.cancel()
        output = self._output(prompt, completions, bool(config.logprobs))
        if extra.get(TOKEN_IDS):
            output.metadata = {**(output.metadata or {}), TOKEN_IDS: [list(c.ids) for c in completions]}
        return output

    def _encode(self, conversation: list[dict[str, Any]], judged: dict[str, Any] | str | None, pixels: Any) -> Prompt:
        engine = self.worker.engine
        if judged is None:
            return engine.encode(conversation, None, PixelLimits.of(pixels))
        if isinstance(judged, str):
            return engine.encode(str(conversation[-1]["content"]))
        return engine.encode_prompt.judged(conversation, judged)

    def _output(self, prompt: Prompt, completions: Sequence[Completion], logprobs: bool) -> ModelOutput:
        tokenizer = self.worker.engine.tokenizer
        choices = []
        for completion in completions:
            listed = None
            if logprobs:
                tokens = zip(completion.ids, completion.logprobs, strict=True)
                listed = Logprobs(content=[Logprob(token=tokenizer.decode([i]), logprob=p) for i, p in tokens])
            message = ChatMessageAssistant(content=completion.text, model=self.model_name, source="generate")
            choices.append(ChatCompletionChoice(message=message, stop_reason=completion.stop_reason, logprobs=listed))
        generated = sum(len(completion.ids) for completion in completions)
        return ModelOutput(
            model=self.model_name,
            choices=choices,
            usage=ModelUsage(
                input_tokens=len(prompt.ids), output_tokens=generated, total_tokens=len(prompt.ids) + generated
            ),
            metadata=token_statistics(completions[0]) | ({IMAGES: list(prompt.images)} if prompt.images else {}),
        )


def _streams(prompt: Prompt, seed: int | None, count: int) -> list[int]:
    """Random streams of a prompt's answers: the same for the same seed, whenever it is asked; fresh without a seed."""
    root = secrets.randbits(64) if seed is None else seed
    images = f":{prompt.images}" if prompt.images else ""
    key = hashlib.sha256(f"{root}:{prompt.ids}{images}".encode()).digest()
    return [int.from_bytes(hashlib.sha256(key + n.to_bytes(8)).digest()[:7]) for n in range(count)]


def token_statistics(completion: Completion) -> dict[str, Any]:
    """White-box numbers of an answer for the panel: mean entropy and log-probability in nats per token."""
    count = len(completion.ids)
    return {
        "mean_entropy": sum(completion.entropies) / count if completion.entropies else None,
        "mean_logprob": sum(completion.logprobs) / count if count else None,
    }


def messages(input: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Inspect messages as role / content messages with text and image parts.

    Raises:
        CopsdError: a tool message, or content that is neither text nor image.
    """
    converted = []
    for message in input:
        if message.role == "tool":
            raise CopsdError("The copsd provider does not take tool messages; use an API provider for agents.")
        content = message.content if isinstance(message.content, str) else [_part(part) for part in message.content]
        converted.append({"role": message.role, "content": content})
    return converted


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, ContentText):
        return {"type": "text", "text": part.text}
    if isinstance(part, ContentImage):
        if part.image.startswith(("http://", "https://")):
            raise CopsdError(f"Image {part.image!r} is a web address; download it and give a local file.")
        return {"type": "image", "image": part.image.removeprefix("file://")}
    raise CopsdError(f"The copsd provider takes text and images, not {part.type!r} content.")
