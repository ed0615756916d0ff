"""Prompts with an image: a corpus of them does not fit in memory, so pixels are read again when they are wanted."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from copsd_bench.engine.context import Context
from copsd_bench.engine.encode import Conversation
from copsd_bench.engine.images import images_of, read_image
from copsd_bench.engine.protocol import Engine, Prompt
from copsd_bench.errors import CopsdError, ExitCode

KEPT = 64
"""Images whose features stay in memory: more than are in one forward pass."""


def user_turn(prompt: str, image: str | None) -> list[dict[str, Any]]:
    """A conversation of one question; its image, if it has one, comes first (as in COPSD's own evaluation)."""
    if image is None:
        return [{"role": "user", "content": prompt}]
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}]}]


def encoded(engine: Engine, conversation: Conversation, context: Context | None) -> Prompt:
    """A conversation as a model sees it, with a context around the text of its last question.

    Args:
        engine: of the model.
        conversation: with one image file at most (see `user_turn`).
        context: what is put around the question; the image stays where it is.

    Raises:
        CopsdError: as `Encoder`.
    """
    prompt = engine.encode(conversation, context)
    found = images_of(conversation)
    return replace(prompt, features=StoredFeatures(engine, found[0], prompt.images)) if found else prompt


class StoredFeatures(Mapping[str, Any]):
    """Features of an image file, made when they are asked for.

    Args:
        engine: of the model.
        image: file.
        digests: what it held when its prompt was encoded.
    """

    def __init__(self, engine: Engine, image: str, digests: tuple[str, ...]) -> None:
        self.engine = engine
        self.image = image
        self.digests = digests

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __bool__(self) -> bool:
        return True  # without reading it

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()  # rollouts that go to another process are looked at there, not run again

    def _read(self) -> Mapping[str, Any]:
        return _features(self.engine, self.image, self.digests)


def with_picture(prompt: Prompt) -> Prompt:
    """The prompt with its image instead of features, for an engine that makes its own (see `Encoder.keeps_images`)."""
    stored = prompt.features
    if not isinstance(stored, StoredFeatures):
        return prompt
    encoder = stored.engine.encode_prompt  # type: ignore[attr-defined]
    pictures = [read_image(stored.image).pixels]
    return replace(prompt, features={"images": pictures, "options": encoder.processor.options(encoder.limits)})


_kept: "WeakKeyDictionary[Any, OrderedDict[tuple[str, ...], Mapping[str, Any]]]" = WeakKeyDictionary()
"""By engine, the features used last at the end. An engine that nobody else holds is not kept for its features."""


def _features(engine: Engine, image: str, digests: tuple[str, ...]) -> Mapping[str, Any]:
    kept = _kept.setdefault(engine, OrderedDict())
    if digests not in kept:
        prompt = engine.encode(user_turn("", image))
        if prompt.images != digests:
            raise CopsdError(f"Image {image} was changed while it was in use; start again.", ExitCode.DATA)
        kept[digests] = prompt.features
    kept.move_to_end(digests)
    while len(kept) > KEPT:
        kept.popitem(last=False)
    return kept[digests]
