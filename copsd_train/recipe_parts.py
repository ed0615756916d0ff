"""Parts of a recipe that are about no method: adapter, optimiser, supervised fine-tuning, monitor, checkpoints."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A part of a recipe: fixed once validated, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(Section):
    """A low-rank adapter.

    Attributes:
        rank, alpha: its size, and its scale `alpha / rank`.
        dropout: on its input while training.
        targets: `all-linear` (all but the LM head), or module names.
    """

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"

    @field_validator("targets", mode="before")
    @classmethod
    def _names_layers(cls, targets: Any) -> Any:
        if targets != "all-linear" and not (isinstance(targets, list) and targets):
            raise ValueError(
                f"targets is all-linear, or a list of module names such as [q_proj, v_proj], not {targets!r}"
            )
        return targets

    @model_validator(mode="after")
    def _spares_the_vocabulary(self) -> Self:
        tied = [t for t in self.targets if "lm_head" in t or "embed" in t] if isinstance(self.targets, list) else []
        if tied:
            raise ValueError(
                f"{tied[0]} cannot carry a LoRA adapter, as student, teacher and base share one LM head and one "
                "embedding; name attention and MLP layers"
            )
        return self


class Vision(Section):
    """Images of a vision-language model; text-only models have none.

    Attributes:
        pixels: fewest and most pixels of an image, for processors that take limits; None leaves their own.
        tower: `frozen` trains the language model alone, `trained` also what turns pixels into embeddings.
    """

    pixels: tuple[int, int] | None = None
    tower: Literal["frozen", "trained"] = "frozen"


class Optimiser(Section):
    """AdamW with a warm-up and a schedule.

    Attributes:
        lr: the highest learning rate.
        weight_decay: of AdamW.
        warmup: share of the steps over which the rate rises from 0.
        schedule: `cosine` falls to 0 at the last step.
        max_grad_norm: gradients are scaled down to this norm.
    """

    lr: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    max_grad_norm: float = Field(default=1.0, gt=0)


class Sft(Section):
    """Supervised fine-tuning on response tokens.

    Attributes:
        adapter: what is trained: the `teacher` of a later stage, or the `student` itself.
        data: `corpus` (the stage before), or a file of SftRow.
        with_context: put each row's constitution around its prompt, as the teacher will see it.
        epochs, steps: passes over the rows, or steps (None: by the epochs).
        batch_size: rows a step.
        batch_tokens: in place of that, as many rows a step as these answer tokens hold; goes with `steps`.
        micro_batch_size: rows a forward pass; the gradient does not depend on it.
        max_tokens: longest prompt + response; longer rows are left out and counted.
        optimiser: see `Optimiser`.
    """

    adapter: Literal["teacher", "student"]
    data: str = "corpus"
    with_context: bool
    epochs: int = Field(ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    batch_tokens: int | None = Field(default=None, ge=1)
    micro_batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    optimiser: Optimiser

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch_tokens is not None and self.steps is None:
            raise ValueError("batch_tokens leaves the number of steps open: set steps")
        return self


class MonitorSettings(Section):
    """The collapse panel on fixed prompts during distillation.

    Attributes:
        every: steps between two panels; 0 is never.
        prompts: `collapse` (the packaged set), or a file of prompts.
        limit: prompts taken, balanced over their classes.
        max_tokens: longest answer.
        stop_on: `collapsed` ends the run at that verdict.
    """

    every: int = Field(default=0, ge=0)
    prompts: str = "collapse"
    limit: int = Field(default=48, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    stop_on: Literal["never", "collapsed"] = "never"


class Checkpoints(Section):
    """When a stage saves: every so many steps and at its end; the newest `keep` stay."""

    every: int = Field(default=25, ge=1)
    keep: int = Field(default=2, ge=1)
