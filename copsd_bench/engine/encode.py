"""Conversation + context -> token ids: the only place that applies a chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from copsd_bench.engine.context import Context
from copsd_bench.engine.images import PixelLimits, Processor, images_of, read_image
from copsd_bench.engine.protocol import Prompt
from copsd_bench.errors import CopsdError, ExitCode

Conversation = Sequence[Mapping[str, Any]]


class Encoder:
    """Renders conversations with a model's own chat template and tokenises them once.

    Args:
        tokenizer: a transformers tokenizer.
        processor: of a vision-language model's images, or None.
        max_length: the model's context window in tokens.
        keeps_images: whether prompts carry their images instead of features, for an engine that makes its own.
        limits: pixels of each image where a call gives none; None leaves the processor's own.
    """

    def __init__(
        self,
        tokenizer: Any,
        processor: Processor | None,
        max_length: int,
        keeps_images: bool = False,
        limits: PixelLimits | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.processor = processor
        self.max_length = max_length
        self.keeps_images = keeps_images
        self.limits = limits

    def __call__(
        self, conversation: Conversation | str, context: Context | None = None, limits: PixelLimits | None = None
    ) -> Prompt:
        """Encode messages, or raw text as it is (no template, the tokenizer's own special tokens).

        Args:
            conversation: messages with `role` and `content`: text, or a list of parts `{"type": "text", "text": ...}`
                and `{"type": "image", "image": ...}` (see `read_image`).
            context: what is put around or before the question.
            limits: pixels of each image; None takes the encoder's.

        Raises:
            CopsdError: no chat template; the template cannot take the context, drops or alters the question; an image
                for a model without a processor, or one that cannot be read; a prompt that leaves no room in the context
                window.
        """
        limits = limits or self.limits
        if isinstance(conversation, str):
            if context is not None:
                raise CopsdError(f"Context {context.name!r} needs a conversation, not raw text.")
            prompt = Prompt(ids=tuple(self.tokenizer(conversation, verbose=False)["input_ids"]), text=conversation)
        else:
            prompt = self._encode_messages(conversation, context, limits)
        if not prompt.ids:
            raise CopsdError("The prompt is empty: it has no tokens to continue.")
        if len(prompt.ids) >= self.max_length:
            raise CopsdError(
                f"A prompt of {len(prompt.ids)} tokens leaves no room in the model's context window of "
                f"{self.max_length} tokens; shorten the prompt or the constitution, or use a longer-context model."
            )
        return prompt

    @property
    def placeholder(self) -> int | None:
        """The token that stands for pixels; None for a text-only model."""
        return None if self.processor is None else self.processor.image_token_id

    def judged(self, conversation: Conversation, template: Mapping[str, Any]) -> Prompt:
        """Encode an exchange for a guard model: its chat template wraps the whole of it, the last reply is closed.

        Args:
            conversation: messages that end with the reply to judge.
            template: further arguments of the chat template.

        Raises:
            CopsdError: no chat template, or one that refuses the exchange or drops a part of it.
        """
        messages = [dict(message) for message in conversation]
        return self._tokenised(self.render(messages, closed=True, **template), messages, None, None)

    def _encode_messages(
        self, conversation: Conversation, context: Context | None, limits: PixelLimits | None
    ) -> Prompt:
        messages = context.apply(conversation) if context else [dict(message) for message in conversation]
        return self._tokenised(self.render(messages), messages, context, limits)

    def _tokenised(
        self, text: str, messages: list[dict[str, Any]], context: Context | None, limits: PixelLimits | None
    ) -> Prompt:
        _require_whole(text, messages, context)
        images = images_of(messages)
        if not images:
            # The template already holds BOS and the role markers: a second BOS would shift every position.
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
            return Prompt(ids=tuple(ids), text=text)
        if self.processor is None:
            raise CopsdError(
                "A message holds an image, but this model takes text only; use a vision-language model.",
                ExitCode.MODEL,
            )
        mark = self.tokenizer.convert_ids_to_tokens(self.processor.image_token_id)
        if any(mark in part for message in messages for part in _texts(message["content"])):
            raise CopsdError(f"The text beside an image holds the image's placeholder {mark!r}; take it out.")
        pictures = [read_image(image) for image in images]
        ids, features = self.processor(text, pictures, limits)
        if self.keeps_images:
            features = {
                "images": [picture.pixels for picture in pictures],
                "options": self.processor.options(limits),
            }
        return Prompt(tuple(ids), features, text, tuple(picture.sha256 for picture in pictures))

    def render(self, messages: list[dict[str, Any]], closed: bool = False, **template: Any) -> str:
        """The chat template filled in.

        Args:
            messages: as for encoding, contexts applied.
            closed: a last message of the assistant is whole, not the beginning of the answer wanted.
            template: further arguments of the template.

        Raises:
            CopsdError: there is no template, or it refuses the conversation.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise CopsdError(
                "The tokenizer has no chat template; use a chat model, or add `chat_template` to its "
                "tokenizer_config.json (a base model's answers to raw questions are not comparable).",
                ExitCode.MODEL,
            )
        # Templates of vision-language models take lists of parts (many take nothing else), others plain text.
        form = _flat_text if self.processor is None else _parts
        messages = [{**m, "content": form(m["content"])} for m in messages]
        prefill = messages[-1]["role"] == "assistant" and not closed
        try:
            rendered = self.tokenizer.apply_chat_template(
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


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
