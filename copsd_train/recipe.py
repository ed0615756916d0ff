"""A recipe: the stages corpus -> sft -> distill with every number they need. Unknown keys are errors.

Each method is a composition of a corpus, a teacher view, a signal and an advantage; the YAML files in `recipes/` quote
the source of every default.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Field(ge=0, le=1)


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

    @model_validator(mode="after")
    def _spares_the_vocabulary(self) -> Self:
        tied = [t for t in self.targets if "lm_head" in t or "embed" in t] if isinstance(self.targets, list) else []
        if tied:
            raise ValueError(
                f"{tied[0]} cannot carry a LoRA adapter, as student, teacher and base share one LM head and one "
                "embedding; name attention and MLP layers"
            )
        return self


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


class Corpus(Section):
    """The Cross-SFT corpus (`corpora/cross_sft.py`) built from the recipe's prompts.

    Attributes:
        settings: of the builder, by its own names.
    """

    settings: dict[str, Any] = {}


class Sft(Section):
    """Supervised fine-tuning on response tokens.

    Attributes:
        adapter: what is trained: the `teacher` of a later stage, or the `student` itself.
        data: `corpus` (the stage before), or a file of SftRow.
        with_context: put each row's constitution around its prompt, as the teacher will see it.
        epochs, batch_size: passes over the rows, and rows a step.
        micro_batch_size: rows a forward pass; the gradient does not depend on it.
        max_tokens: longest prompt + response; longer rows are left out and counted.
        optimiser: see `Optimiser`.
    """

    adapter: Literal["teacher", "student"]
    data: str = "corpus"
    with_context: bool
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    micro_batch_size: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    optimiser: Optimiser


class Rollout(Section):
    """How the student answers.

    Attributes:
        engine: `transformers`, or `vllm` with the student's adapter handed over at every step.
        per_prompt: G, answers a prompt.
        max_tokens, temperature, top_p: as in `Sampling`.
        engine_args: further vLLM arguments.
    """

    engine: Literal["transformers", "vllm"] = "transformers"
    per_prompt: int = Field(ge=1)
    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    engine_args: dict[str, Any] = {}


class Teacher(Section):
    """The teacher view, and what it adds to each row's prompt.

    Attributes:
        adapter: `none` (the base model), `teacher` (of the sft stage or `path`), or `ema` (average of the student).
        path: PEFT folder of the teacher's adapter, when no stage trains it.
        context: `constitution`, the row's reference answer (`gold`), an `instruction` by kind of prompt, or `none`.
        placement: where a constitution goes; None takes the constitution's own.
        masked: share of safety prompts that get no context, fixed by prompt and seed.
        kinds: kinds of prompts that get a context at all.
        instructions: text by kind of prompt, with the slot `{user_query}`, for `instruction`.
        decay: of the ema, once a step.
    """

    adapter: Literal["none", "teacher", "ema"]
    path: str | None = None
    context: Literal["constitution", "gold", "instruction", "none"]
    placement: Literal["user", "system"] | None = None
    masked: float = Field(default=0.0, ge=0, lt=1)
    kinds: list[Literal["safety", "over_refusal", "general"]] = ["safety"]
    instructions: dict[Literal["safety", "over_refusal", "general"], str] = {}
    decay: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.decay is not None) != (self.adapter == "ema"):
            raise ValueError("decay belongs to adapter: ema, which needs it")
        if self.path is not None and self.adapter != "teacher":
            raise ValueError("path belongs to adapter: teacher")
        if self.context == "instruction" and set(self.instructions) != set(self.kinds):
            raise ValueError("context: instruction needs one text in instructions for each of kinds")
        if self.context != "instruction" and self.instructions:
            raise ValueError("instructions belong to context: instruction")
        if self.context == "none" and (self.masked or self.placement):
            raise ValueError("masked and placement belong to a context, but context is none")
        return self


class EntropyGate(Section):
    """Adds `weight` x forward KL(teacher||student) where the teacher's entropy exceeds `threshold` nats (EOPD)."""

    weight: float = Field(gt=0)
    threshold: float = Field(ge=0)


class Signal(Section):
    """What the teacher says about a token.

    Attributes:
        kind: `sampled` (log-ratio at the sampled token, a reward), `full` or `topk` (a divergence over the vocabulary,
            a loss), or `none` (an outcome alone).
        low, high: clip of the sampled log-ratio; None leaves it as it is.
        beta: direction of a divergence: 0 forward KL(teacher||student), 1 reverse KL(student||teacher), between JSD.
        k, tail, stop_gradient: the tokens kept, a bucket for all others, and the unbiased reverse KL on a cut set.
        entropy_gate: see `EntropyGate`.
    """

    kind: Literal["sampled", "full", "topk", "none"]
    low: float | None = None
    high: float | None = None
    beta: float | None = Field(default=None, ge=0, le=1)
    k: int | None = Field(default=None, ge=1)
    tail: bool = False
    stop_gradient: bool = False
    entropy_gate: EntropyGate | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind != "sampled" and (self.low is not None or self.high is not None):
            raise ValueError("low and high clip the log-ratio of kind: sampled")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError("low must be below high")
        if (self.kind in ("full", "topk")) != (self.beta is not None):
            raise ValueError("beta belongs to kind: full and kind: topk, which need it")
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
        normalise: divide by the standard deviation; None leaves the kind's own rule.
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


class Outcome(Section):
    """A judge's score of a whole answer as its reward.

    Attributes:
        judge: name of a judge of copsd_bench.
        inverted: kinds of prompts whose reward is 1 - score (a refusal judge's score is good on safety prompts only).
        sources: rows of these sources get the outcome reward and no teacher signal; only without an outcome advantage.
    """

    judge: str
    inverted: list[Literal["safety", "over_refusal", "general"]] = []
    sources: list[str] = []


class Distill(Section):
    """On-policy distillation.

    Attributes:
        epochs, steps: passes over the prompts, or steps (None: by the epochs).
        prompts_per_step: prompts answered a step.
        minibatches: optimiser updates a step.
        micro_batch_size: answers a forward pass; the gradient does not depend on it.
        clip: of the PPO ratio.
        kl_coef: weight of the low-variance KL(student||base) estimate (k3) in the loss.
        rollout, teacher, signal, advantage, outcome, optimiser: see there.
    """

    epochs: int = Field(ge=1)
    steps: int | None = Field(default=None, ge=1)
    prompts_per_step: int = Field(ge=1)
    minibatches: int = Field(ge=1)
    micro_batch_size: int = Field(ge=1)
    clip: float = Field(gt=0, lt=1)
    kl_coef: float = Field(ge=0)
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
        if (signal in ("full", "topk")) != (advantage == "none"):
            raise ValueError(
                f"signal.kind {signal} does not go with advantage.kind {advantage}: a divergence (full, topk) is a "
                "loss and takes none, a reward (sampled, none) needs one"
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
        if signal == "none" and (self.teacher.adapter != "none" or self.teacher.context != "none"):
            raise ValueError("signal.kind none uses no teacher: set teacher.adapter and teacher.context to none")
        if signal != "none" and self.teacher.adapter == "none" and self.teacher.context == "none":
            raise ValueError("the teacher is the base model without a context: there is nothing to learn from it")
        return self


class Monitor(Section):
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


class Recipe(Section):
    """A system: up to three stages, run in the order of their fields.

    Attributes:
        name, about: for people.
        seed: of everything random.
        dtype, device: empty chooses by hardware.
        tuning: `lora`, or `full` (the student is a copy of all weights).
        lora: of every adapter trained.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        prompts: `seed` (the packaged corpus), or a file of PromptRow.
        corpus, sft, distill: the stages; an absent one is skipped.
        monitor, checkpoints: see there.
    """

    name: str
    about: str
    seed: int = 0
    dtype: Literal["", "bfloat16", "float32"] = ""
    device: str = ""
    tuning: Literal["lora", "full"] = "lora"
    lora: Lora
    gradient_checkpointing: bool = True
    prompts: str = "seed"
    corpus: Corpus | None = None
    sft: Sft | None = None
    distill: Distill | None = None
    monitor: Monitor = Monitor()
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sft is None and self.distill is None:
            raise ValueError("a recipe trains something: give it an sft or a distill stage")
        if self.corpus is not None and (self.sft is None or self.sft.data != "corpus"):
            raise ValueError("the corpus stage builds what sft reads: set sft.data: corpus")
        if self.sft is not None and self.sft.data == "corpus" and self.corpus is None:
            raise ValueError("sft.data is corpus, but there is no corpus stage; name a file")
        if self.tuning == "full" and self.sft is not None and self.sft.adapter == "teacher":
            raise ValueError("a teacher is trained as an adapter; use tuning: lora, or give its folder as teacher.path")
        if self.sft is not None and self.sft.adapter == "student" and self.distill is not None:
            raise ValueError("distill starts the student from the base model; train the teacher in sft instead")
        if self.distill is not None and self.distill.teacher.adapter == "teacher":
            trained = self.sft is not None and self.sft.adapter == "teacher"
            if trained == (self.distill.teacher.path is not None):
                raise ValueError("teacher.adapter teacher needs an sft stage with adapter: teacher, or a teacher.path")
        return self

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in the order they run."""
        return [name for name in ("corpus", "sft", "distill") if getattr(self, name) is not None]
