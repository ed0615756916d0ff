"""Conversation + context -> token ids: the only place that applies a chat template."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from copsd_bench.engine.context import Context
from copsd_bench.engine.protocol import Prompt
from copsd_bench.errors import CopsdError, ExitCode

Conversation = Sequence[Mapping[str, Any]]


class Encoder:
    """Renders conversations with a model's own chat template and tokenises them once.

    Args:
        tokenizer: a transformers tokenizer.
        processor: a transformers processor of a vision-language model, or None.
        max_length: the model's context window in tokens.
    """

    def __init__(self, tokenizer: Any, processor: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.processor = processor
        self.max_length = max_length

    def __call__(self, conversation: Conversation | str, context: Context | None = None) -> Prompt:
        """Encode messages, or raw text as it is (no template, the tokenizer's own special tokens).

        Raises:
            CopsdError: no chat template; the template cannot take the context, drops or alters the question; an image
                for a model without a processor; a prompt that leaves no room in the context window.
        """
        if isinstance(conversation, str):
            if context is not None:
                raise CopsdError(f"Context {context.name!r} needs a conversation, not raw text.")
            prompt = Prompt(ids=tuple(self.tokenizer(conversation, verbose=False)["input_ids"]), text=conversation)
        else:
            prompt = self._encode_messages(conversation, context)
        if not prompt.ids:
            raise CopsdError("The prompt is empty: it has no tokens to continue.")
        if len(prompt.ids) >= self.max_length:
            raise CopsdError(
                f"A prompt of {len(prompt.ids)} tokens leaves no room in the model's context window of "
                f"{self.max_length} tokens; shorten the prompt or the constitution, or use a longer-context model."
            )
        return prompt

    def judged(self, conversation: Conversation, template: Mapping[str, Any]) -> Prompt:
        """Encode an exchange for a guard model: its chat template wraps the whole of it, the last reply is closed.

        Args:
            conversation: messages that end with the reply to judge.
            template: further arguments of the chat template.

        Raises:
            CopsdError: no chat template, or one that refuses the exchange or drops a part of it.
        """
        messages = [dict(message) for message in conversation]
        text = self._render(messages, closed=True, **template)
        _require_whole(text, messages, None)
        return Prompt(ids=tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]), text=text)

    def _encode_messages(self, conversation: Conversation, context: Context | None) -> Prompt:
        messages = context.apply(conversation) if context else [dict(message) for message in conversation]
        images = _images(messages)
        if images and self.processor is None:
            raise CopsdError(
                "A message holds an image, but this model has no image processor; use a vision-language model.",
                ExitCode.MODEL,
            )
        text = self._render(messages)
        _require_whole(text, messages, context)
        if images:
            inputs = self.processor(
                text=[text], images=[_load_image(image) for image in images], add_special_tokens=False,
                return_tensors="pt",
            )  # fmt: skip
            features = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
            return Prompt(ids=tuple(inputs["input_ids"][0].tolist()), features=features, text=text)
        # The template already holds BOS and the role markers: a second BOS would shift every position.
        return Prompt(ids=tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]), text=text)

    def _render(self, messages: list[dict[str, Any]], closed: bool = False, **template: Any) -> str:
        renderer = self.processor if getattr(self.processor, "chat_template", None) else self.tokenizer
        if not getattr(renderer, "chat_template", None):
            raise CopsdError(
                "The tokenizer has no chat template; use a chat model, or add `chat_template` to its "
                "tokenizer_config.json (a base model's answers to raw questions are not comparable).",
                ExitCode.MODEL,
            )
        if renderer is self.tokenizer:
            messages = [{**m, "content": _flat_text(m["content"])} for m in messages]
        prefill = messages[-1]["role"] == "assistant" and not closed
        try:
            rendered = renderer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=not prefill, continue_final_message=prefill, **template
            )
        except Exception as error:  # templates raise whatever they like (jinja2 errors, ValueError, ...)
            roles = ", ".join(m["role"] for m in messages)
            raise CopsdError(
                f"The model's chat template refuses this conversation (roles: {roles}): "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
                "If it takes no system message, place the constitution in the user turn.",
                ExitCode.MODEL,
            ) from error
        return str(rendered)


def _require_whole(text: str, messages: list[dict[str, Any]], context: Context | None) -> None:
    """Every message must be in the rendered prompt, whole: a template that drops or cuts one is refused."""
    for message in messages:
        for part in _texts(message["content"]):
            if part.strip() not in text:
                what = f"context {context.name!r}" if context else f"{message['role']} message"
                raise CopsdError(f"The model's chat template drops or alters the {what}; use another placement.")


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content if part.get("type") == "text"]


def _flat_text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(_texts(content))


def _images(messages: list[dict[str, Any]]) -> list[Any]:
    return [
        part["image"]
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part.get("type") == "image"
    ]


def _load_image(image: Any) -> Any:
    """A PIL image from a PIL image, a path, or a `data:` URI."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(image, Image.Image):
        return image.convert("RGB")
    name = str(image)
    try:
        if name.startswith("data:"):
            import base64
            import io

            return Image.open(io.BytesIO(base64.b64decode(name.split(",", 1)[1]))).convert("RGB")
        return Image.open(Path(name)).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError) as error:
        shown = name if len(name) < 80 else name[:60] + "..."
        raise CopsdError(f"Image {shown!r} cannot be read: {error}.", ExitCode.DATA) from error
