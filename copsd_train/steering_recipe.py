"""The part of a recipe that finds a refusal direction and the tokens it speaks in, and the scores it is chosen by."""

from typing import Annotated

from pydantic import Field

from copsd_train.recipe_parts import Section


class Steering(Section):
    """Where to look for a refusal direction, what it must do, and how its tokens are voted for.

    Attributes:
        prompts: files of PromptRow: kind `safety` (if it has a route, `refuse`) is harmful, kind `general` harmless;
            none takes the packaged ones. Those that a benchmark has too are left out and counted.
        allow_overlap: keep those; None does as the recipe's own prompts.
        train, validation: prompts a side that make the directions, and others that choose among them.
        filter: keep harmful prompts that the model refuses, and harmless ones that it does not.
        openings: a refusal's first words, of which the first tokens count.
        max_kl: most KL(base||ablated) on harmless prompts, in nats.
        min_induce: least refusal score (log-odds) of harmless prompts with the direction added.
        depth: share of the decoder blocks, from below, that are candidates.
        layer_step: every so many blocks.
        positions: most post-instruction tokens, from the last; None takes all.
        scale: factor of the direction when it is added.
        horizon: first tokens of an answer that vote for safety tokens.
        trajectories: steered answers a prompt that vote.
        temperature, top_p: of those answers.
        voted: tokens that each position votes for.
        tokens: size of the set.
        min_probability: least mean probability under steering of a token in the set.
        answer_tokens: longest answer when the acceptance checks count refusals.
    """

    prompts: list[str] = Field(default=[])
    allow_overlap: bool | None = None
    train: int = Field(ge=2)
    validation: int = Field(ge=1)
    filter: bool = True
    openings: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)
    max_kl: float = Field(ge=0)
    min_induce: float
    depth: float = Field(gt=0, le=1)
    layer_step: int = Field(default=1, ge=1)
    positions: int | None = Field(default=None, ge=1)
    scale: float = Field(default=1.0, gt=0)
    horizon: int = Field(ge=2)
    trajectories: int = Field(ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    voted: int = Field(ge=1)
    tokens: int = Field(ge=1)
    min_probability: float = Field(ge=0)
    answer_tokens: int = Field(default=64, ge=1)


class Scores(Section):
    """How a candidate acts on validation prompts.

    Attributes:
        position, layer: its place.
        bypass: mean refusal score of harmful prompts with the direction ablated everywhere: the lower, the better.
        induce: mean refusal score of harmless prompts with the direction added at its layer.
        kl: mean KL(base||ablated) of the first answer token on harmless prompts, in nats.
    """

    position: int
    layer: int
    bypass: float
    induce: float
    kl: float

    def faults(self, config: Steering) -> dict[str, float]:
        """The thresholds it fails, each with what it lacks in nats."""
        lacks = {"induce": config.min_induce - self.induce, "KL": self.kl - config.max_kl}
        return {name: by for name, by in lacks.items() if not by <= 0}  # nan fails
