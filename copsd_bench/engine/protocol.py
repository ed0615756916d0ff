"""What every engine speaks: views, prompts, sampling, completions, token scores.

A *view* is how the same weights are looked at (adapter and intervention); a *context* is what a row adds to its prompt
(a constitution, a reference answer, an instruction). Student, teacher, reference and evaluation are views of one copy
of the base weights.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch

from copsd_bench.engine.context import Context
from copsd_bench.engine.images import PixelLimits
from copsd_bench.errors import CopsdError

StopReason = Literal["stop", "max_tokens", "model_length"]
Capability = Literal["generate", "score", "activations", "interventions", "adapters", "images", "entropy", "divergence"]


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of the residual stream at every position: at the input of one decoder block, or everywhere.

    Attributes:
        kind: `add` adds `scale * vector`; `ablate` removes the component along `vector` (which is normalised).
        layer: index of the decoder block whose input is changed, from 0; None (`ablate` only) changes the input of
            every block and what every attention and MLP adds to the stream.
        vector: direction, shape [hidden].
        scale: factor of an addition; ignored by `ablate`.
    """

    kind: Literal["add", "ablate"]
    layer: int | None
    vector: "torch.Tensor"
    scale: float = 1.0


@dataclass(frozen=True)
class View:
    """Weights + adapter + intervention. `View()` is the base model.

    Attributes:
        adapter: name of a loaded LoRA adapter, or None for the bare weights.
        intervention: change of the residual stream, or None.
    """

    adapter: str | None = None
    intervention: Intervention | None = None


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model sees it.

    Attributes:
        ids: token ids, image placeholders already expanded.
        features: further processor outputs for this row (e.g. `pixel_values`), empty for text.
        text: the rendered chat template, one placeholder an image.
        images: sha256 of each image, in order.
    """

    ids: tuple[int, ...]
    features: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    images: tuple[str, ...] = ()

    @property
    def key(self) -> Hashable:
        """What two prompts agree in when they are the same to a model."""
        return self.ids, self.images


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
        max_tokens: the most new tokens a completion may have.
        temperature: 0 is greedy (the argmax token).
        top_p: nucleus mass; 1 keeps everything.
        top_k: number of tokens kept; None keeps everything.
        stop: strings that end a completion; they are cut from its text.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        allowed = {
            "max_tokens": (self.max_tokens >= 1, "at least 1"),
            "temperature": (self.temperature >= 0, "at least 0"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k is None or self.top_k >= 1, "at least 1"),
            "stop": ("" not in self.stop, "strings that are not empty"),
        }
        for name, (fits, range_) in allowed.items():
            if not fits:
                raise CopsdError(f"Sampling with {name} {getattr(self, name)!r} is not possible; it must be {range_}.")


@dataclass(frozen=True)
class Completion:
    """What a model answered.

    Attributes:
        ids: sampled token ids, the end-of-sequence token included when it was sampled.
        text: decoded without special tokens and without a matched stop string.
        logprobs: log-probability in nats of each sampled token under the view at temperature 1, before top-p / top-k.
        entropies: entropy in nats of that distribution at each sampled token; empty if the engine cannot give it.
        stop_reason: `stop` (end of sequence or stop string), `max_tokens`, or `model_length` (context window full).
    """

    ids: tuple[int, ...]
    text: str
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]
    stop_reason: StopReason


@dataclass(frozen=True)
class TokenScores:
    """Scores of given completion tokens under a view.

    Attributes:
        logprobs: log-probability in nats of each given token; length of the completion.
        is_greedy: whether each given token is the argmax.
        entropies: entropy in nats at each position; empty unless asked for.
    """

    logprobs: tuple[float, ...]
    is_greedy: tuple[bool, ...]
    entropies: tuple[float, ...] = ()


class Engine(Protocol):
    """One model, many views. What an engine cannot do it refuses by name (`capabilities`)."""

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def encode(
        self,
        conversation: "Sequence[Mapping[str, Any]] | str",
        context: Context | None = None,
        limits: PixelLimits | None = None,
    ) -> Prompt:
        """Tokenise a conversation (messages) or raw text; the only place that applies a chat template."""
        ...

    def generate(
        self,
        view: View,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int] | None = None,
        on_complete: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Sample one completion a prompt; row i draws from its own random stream `seeds[i]`."""
        ...

    def score(
        self,
        view: View,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[int]],
        entropy: bool = False,
    ) -> list[TokenScores]:
        """Score given completion ids, each after its prompt."""
        ...

    def activations(self, view: View, prompts: Sequence[Prompt], layers: Sequence[int]) -> "list[torch.Tensor]":
        """Residual stream at the input of each layer, one tensor [layers, tokens, hidden] a prompt."""
        ...
