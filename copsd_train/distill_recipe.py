"""The part of a recipe that makes a method: rollout, teacher view, signal, advantage, outcome. Nonsense is refused."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.judges.registry import JUDGES
from copsd_train.candidates import instruction_context
from copsd_train.model_outcome import format_and_model
from copsd_train.recipe_parts import Optimiser, Section

Prompts = Literal["safety", "safety/refuse", "safety/warn", "safety/help", "over_refusal", "general"]


class Rollout(Section):
    """How the student answers.

    Attributes:
        engine: `transformers`; `vllm`, with the student's adapter handed over at every step; or `recorded`.
        file: samples.jsonl of a run whose answers are taken again, for `recorded`.
        per_prompt: G, answers a prompt.
        max_tokens, temperature, top_p: as in `Sampling`.
        engine_args: further vLLM arguments.
    """

    engine: Literal["transformers", "vllm", "recorded"] = "transformers"
    file: str | None = None
    per_prompt: int = Field(ge=1)
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    engine_args: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.engine == "recorded") != (self.file is not None):
            raise ValueError("file belongs to engine: recorded, which needs it")
        if self.engine_args and self.engine != "vllm":
            raise ValueError("engine_args belong to engine: vllm")
        return self


class Teacher(Section):
    """The teacher view, and what it adds to each row's prompt.

    Attributes:
        adapter: `none` (the base model), `teacher` (of the sft stage or `path`), or `ema` (average of the student).
        path: PEFT folder of the teacher's adapter, when no stage trains it.
        context: `constitution`, the row's reference answer (`gold`), an `instruction` by kind of prompt, or `none`.
        placement: where a constitution goes; None takes the constitution's own.
        masked: share of safety prompts that get no context, fixed by prompt and seed.
        kinds: kinds of prompts that get a context at all.
        intervention: `refusal_direction` adds what the steering stage found, at every position of every row.
        instructions: for `instruction`, by kind of prompt, or by kind and route (`safety/help`), which goes first: a
            packaged context by name (`contexts/`), or a text with the slot `{user_query}`.
        decay: of the ema, once a step.
    """

    adapter: Literal["none", "teacher", "ema"]
    path: str | None = None
    context: Literal["constitution", "gold", "instruction", "none"]
    placement: Literal["user", "system"] | None = None
    masked: float = Field(default=0.0, ge=0, lt=1)
    kinds: list[Literal["safety", "over_refusal", "general"]] = Field(default=["safety"])
    instructions: dict[Prompts, str] = Field(default={})
    intervention: Literal["refusal_direction", "none"] = "none"
    decay: float | None = Field(default=None, gt=0, lt=1)

    @field_validator("instructions")
    @classmethod
    def _contexts_exist(cls, texts: dict[Prompts, str]) -> dict[Prompts, str]:
        for text in texts.values():
            try:
                instruction_context(text)
            except CopsdError as error:
                raise ValueError(str(error).rstrip(".?")) from error
        return texts

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.decay is not None) != (self.adapter == "ema"):
            raise ValueError("decay belongs to adapter: ema, which needs it")
        if self.path is not None and self.adapter != "teacher":
            raise ValueError("path belongs to adapter: teacher")
        whole = {key for key in self.instructions if "/" not in key}
        unknown = {key.partition("/")[0] for key in self.instructions} - whole
        if self.context == "instruction" and (whole != set(self.kinds) or unknown):
            raise ValueError("context: instruction needs one text in instructions for each of kinds, and for no other")
        if self.context != "instruction" and self.instructions:
            raise ValueError("instructions belong to context: instruction")
        if self.context == "none" and self.masked:
            raise ValueError("masked belongs to a context, but context is none")
        if self.context != "constitution" and self.placement is not None:
            raise ValueError(f"placement belongs to context: constitution, but context is {self.context}")
        return self


class EntropyGate(Section):
    """Adds `weight` x forward KL(teacher||student) where the teacher's entropy exceeds `threshold` nats (EOPD)."""

    weight: float = Field(gt=0)
    threshold: float = Field(ge=0)


DIVERGENCES = ("full", "topk", "token_set")
"""Signals that are a loss by themselves, made of the teacher's whole distribution."""


class Signal(Section):
    """What the teacher says about a token.

    Attributes:
        kind: `sampled` (log-ratio at the sampled token, a reward); `full`, `topk` or `token_set` (a divergence over the
            vocabulary, the likeliest tokens, or the safety tokens of the steering stage; a loss); or `none` (an outcome
            alone).
        low, high: clip of the sampled log-ratio; None leaves it as it is.
        beta: direction of a divergence: 0 forward KL(teacher||student), 1 reverse KL(student||teacher), between JSD;
            `symmetric` the mean of forward and reverse KL.
        clip: of `full`: the most that one vocabulary entry adds to a token's divergence, in nats; None is no limit.
        k, tail, stop_gradient: the tokens kept, a bucket for all others, and the unbiased reverse KL on a cut set.
        variant: of `token_set`: `released`, `tail`, `generalised` or `renormalised` (`token_sets.py`).
        entropy_gate: see `EntropyGate`.
    """

    kind: Literal["sampled", "full", "topk", "token_set", "none"]
    low: float | None = None
    high: float | None = None
    beta: float | Literal["symmetric"] | None = None
    clip: float | None = Field(default=None, gt=0)
    k: int | None = Field(default=None, ge=1)
    tail: bool = False
    stop_gradient: bool = False
    variant: Literal["released", "tail", "generalised", "renormalised"] | None = None
    entropy_gate: EntropyGate | None = None

    @field_validator("beta", mode="before")
    @classmethod
    def _names_a_divergence(cls, beta: Any) -> Any:
        number = isinstance(beta, int | float) and not isinstance(beta, bool) and 0 <= beta <= 1
        if not (number or beta in (None, "symmetric")):
            raise ValueError(f"beta is a number from 0 to 1 or `symmetric`, not {beta!r}")
        return beta

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "sampled" and (self.low is not None or self.high is not None):
            raise ValueError("low and high clip the log-ratio of kind: sampled")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        if (self.kind in DIVERGENCES) != (self.beta is not None):
            raise ValueError("beta belongs to kind: full, topk and token_set, which need it")
        if self.kind != "full" and self.clip is not None:
            raise ValueError("clip belongs to kind: full")
        if (self.kind == "token_set") != (self.variant is not None):
            raise ValueError("variant belongs to kind: token_set, which needs it")
        if (self.kind == "topk") != (self.k is not None):
            raise ValueError("k belongs to kind: topk, which needs it")
        if self.kind != "topk" and (self.tail or self.stop_gradient):
            raise ValueError("tail and stop_gradient belong to kind: topk")
        if self.stop_gradient and self.beta != 1:
            raise ValueError("stop_gradient is a form of the reverse KL; set beta: 1")
        if self.kind == "none" and self.entropy_gate is not None:
            raise ValueError("entropy_gate needs a teacher, but kind is none")
        return self


class Advantage(Section):
    """From rewards to the weight of each token (`advantages.py`).

    Attributes:
        kind: `token_group` (released code), `return_to_go` (paper), `outcome` (GRPO), `hybrid`, `self_distilled`, or
            `none` for a divergence, which is a loss by itself.
        gamma, min_rows: of `return_to_go`.
        lam: of `hybrid`.
        epsilon: of `self_distilled`.
        normalise: divide by the standard deviation.
    """

    kind: Literal["token_group", "return_to_go", "outcome", "hybrid", "self_distilled", "none"]
    gamma: float | None = Field(default=None, ge=0, le=1)
    min_rows: int | None = Field(default=None, ge=2)
    lam: float | None = Field(default=None, ge=0)
    epsilon: float | None = Field(default=None, gt=0)
    normalise: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        owners = {"gamma": "return_to_go", "min_rows": "return_to_go", "lam": "hybrid", "epsilon": "self_distilled"}
        for key, kind in owners.items():
            if (getattr(self, key) is not None) != (self.kind == kind):
                raise ValueError(f"{key} belongs to kind: {kind}, which needs it")
        if self.kind == "none" and not self.normalise:
            raise ValueError("normalise belongs to an advantage, but kind is none")
        return self


class Feedback(Section):
    """A model that compares two answers by a principle (arXiv 2212.08073, section 4.1).

    Attributes:
        model: `self` (the base model), or a local or Inspect's model (`openai/...`) that gives log-probabilities.
        principles: the packaged ones, or a file.
        few_shot: demonstrations of the principles' file shown as worked comparisons.
        chain_of_thought: let the model reason before it chooses.
        clamp: the probability of an option is kept in [clamp, 1 - clamp]. None is 0.4 after a chain of thought, as in
            the paper (reasoning makes a model over-sure), and leaves it otherwise.
        max_tokens: of the reasoning.
        opponents: answers of the same prompt that each is compared with when it is scored by itself.
    """

    model: str = "self"
    principles: str = "cai_principles"
    few_shot: int = Field(default=0, ge=0)
    chain_of_thought: bool = False
    clamp: float | None = Field(default=None, ge=0, lt=0.5)
    max_tokens: int = Field(default=256, ge=1)
    opponents: int = Field(default=1, ge=1)

    @property
    def bound(self) -> float:
        """The clamp in force."""
        return self.clamp if self.clamp is not None else 0.4 * self.chain_of_thought


REFUSAL_WRONG: tuple[Prompts, ...] = ("over_refusal", "general", "safety/warn", "safety/help")
"""Prompts on which a refusal is no good outcome."""


class Outcome(Section):
    """A judge's score of a whole answer as its reward.

    Attributes:
        judge: `refusal` (offline); `FORMAT:MODEL`, a guard or a rubric of copsd_bench, turned so that 1 is good
            (`model_outcome.py`); or `principles`: the probability that `feedback` prefers the answer to others of the
            same prompt.
        feedback: of the judge `principles`.
        inverted: of an offline judge: prompts whose reward is 1 - score, by kind, or by kind and route
            (`safety/help`). None: all on which a refusal is wrong, as its score is the probability of a refusal. The
            verdicts of other judges are good where they are 1, on every prompt.
        sources: rows of these sources get the outcome reward and no teacher signal; only without an outcome advantage.
    """

    judge: str
    feedback: Feedback | None = None
    inverted: list[Prompts] | None = None
    sources: list[str] = Field(default=[])

    @property
    def turned(self) -> Sequence[str]:
        """`inverted`, or what it stands for."""
        harmless = REFUSAL_WRONG if self.judge in JUDGES else ()
        return harmless if self.inverted is None else self.inverted

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.judge == "principles") != (self.feedback is not None):
            raise ValueError("feedback belongs to judge: principles, which needs it")
        if self.inverted and self.judge not in JUDGES:
            raise ValueError(f"the judge {self.judge} says 1 where an answer is good: leave inverted out")
        if self.judge not in ("principles", *JUDGES):
            try:
                if ":" not in self.judge:
                    raise unknown_name("judge", self.judge, [*JUDGES, "principles", "FORMAT:MODEL"])
                format_and_model(self.judge)
            except CopsdError as error:
                raise ValueError(str(error).rstrip(".?")) from error
        return self


class Distill(Section):
    """On-policy distillation.

    Attributes:
        epochs, steps: passes over the prompts, or steps (None: by the epochs).
        prompts_per_step: prompts answered a step.
        minibatches: optimiser updates a step.
        micro_batch_size: answers a forward pass; the gradient does not depend on it.
        clip: of the PPO ratio.
        kl_coef: weight of the low-variance KL(student||base) estimate (k3) in the loss; where sft trained the student,
            the base is the student as sft left it.
        average: the loss is a mean over all `tokens` of a mini-batch, or over its `answers` of each one's mean.
        rollout, teacher, signal, advantage, outcome, optimiser: see there.
    """

    epochs: int = Field(ge=1)
    steps: int | None = Field(default=None, ge=1)
    prompts_per_step: int = Field(ge=1)
    minibatches: int = Field(ge=1)
    micro_batch_size: int = Field(ge=1)
    clip: float = Field(gt=0, lt=1)
    kl_coef: float = Field(ge=0)
    average: Literal["tokens", "answers"] = "tokens"
    rollout: Rollout
    teacher: Teacher
    signal: Signal
    advantage: Advantage
    outcome: Outcome | None = None
    optimiser: Optimiser

    @model_validator(mode="after")
    def _fits(self) -> Self:
        signal, advantage, outcome = self.signal.kind, self.advantage.kind, self.outcome
        judged = advantage in ("outcome", "hybrid", "self_distilled")
        if (signal in DIVERGENCES) != (advantage == "none"):
            raise ValueError(
                f"signal.kind {signal} does not go with advantage.kind {advantage}: a divergence (full, topk, "
                "token_set) is a loss and takes none, a reward (sampled, none) needs one"
            )
        if (signal == "none") != (advantage == "outcome"):
            raise ValueError("advantage.kind outcome goes with signal.kind none, as it takes nothing from a teacher")
        if judged and outcome is None:
            raise ValueError(f"advantage.kind {advantage} needs an outcome: judge")
        if outcome is not None and not judged and not outcome.sources:
            raise ValueError("outcome is used by no row: name outcome.sources, or choose another advantage")
        if outcome is not None and outcome.sources and (judged or advantage == "none"):
            raise ValueError("outcome.sources goes with advantage.kind token_group or return_to_go")
        if self.minibatches > self.prompts_per_step:
            raise ValueError("minibatches cannot exceed prompts_per_step")
        if advantage != "none" and self.rollout.per_prompt < 2:
            raise ValueError("an advantage compares the answers of a prompt: rollout.per_prompt must be at least 2")
        teacher = self.teacher
        changes = [teacher.adapter != "none", teacher.context != "none", teacher.intervention != "none"]
        if signal == "none" and any(changes):
            raise ValueError("signal.kind none uses no teacher: set teacher.adapter, context and intervention to none")
        if signal != "none" and not any(changes):
            raise ValueError("the teacher is the base model without a context: there is nothing to learn from it")
        return self

    @property
    def uses_steering(self) -> bool:
        """Whether it takes anything from the steering stage."""
        return self.teacher.intervention != "none" or self.signal.kind == "token_set"
