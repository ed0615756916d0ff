"""The part of a recipe about preferences: who compares two answers, and how the student learns from it."""

from typing import Self

from pydantic import Field, model_validator

from copsd_train.distill_recipe import Feedback, Rollout
from copsd_train.recipe_parts import Optimiser, Section


class Preference(Section):
    """Direct preference optimisation (arXiv 2305.18290) with soft labels.

    Attributes:
        pairs: `ai` (two answers of the student to each prompt, compared by `feedback`), `corpus` (those that the corpus
            stage wrote), or a file of PairRow.
        feedback, rollout: of `ai`.
        min_margin: pairs whose label is closer to one half than this are left out.
        beta: strength of the pull back to the reference, which is the student as this stage found it.
        epochs, steps: passes over the pairs (online: over the prompts), or steps (None: by the epochs).
        batch_size: pairs a step.
        micro_batch_size: pairs a forward pass; the gradient does not depend on it.
        max_tokens: longest prompt + answer; pairs with a longer one are left out and counted.
        optimiser: see `Optimiser`.
    """

    pairs: str = "ai"
    feedback: Feedback | None = None
    rollout: Rollout | None = None
    min_margin: float = Field(default=0.0, ge=0, lt=0.5)
    beta: float = Field(gt=0)
    epochs: int = Field(ge=1)
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    micro_batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    optimiser: Optimiser

    @model_validator(mode="after")
    def _fits(self) -> Self:
        asked = self.feedback is not None and self.rollout is not None
        if self.pairs == "ai" and not asked:
            raise ValueError("pairs: ai needs feedback (who compares) and rollout (how the student answers)")
        if self.rollout is not None and self.rollout.per_prompt != 2:
            raise ValueError("a pair is two answers: rollout.per_prompt must be 2")
        return self
