"""A recipe: the stages corpus -> sft -> steering -> preference or distill with every number they need.

Unknown keys are errors.

Each method is a composition of a corpus, a teacher view, a signal and an advantage; the YAML files in `recipes/` quote
the source of every default.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from copsd_train.corpora.critique import CritiqueConfig
from copsd_train.corpora.cross_sft import CrossSftConfig
from copsd_train.corpora.prompts import CorpusConfig
from copsd_train.corpora.reframing import ReframingConfig
from copsd_train.corpora.schema import Kind
from copsd_train.distill_recipe import Distill
from copsd_train.preference_recipe import Preference
from copsd_train.recipe_parts import Checkpoints, Lora, MonitorSettings, Section, Sft, Vision
from copsd_train.steering_recipe import Steering


class Recipe(Section):
    """A system: its stages, run in the order of their fields.

    Attributes:
        name, about: for people.
        seed: of everything random.
        dtype, device: empty chooses by hardware.
        tuning: `lora`, or `full` (the student is a copy of all weights).
        lora: of every adapter trained.
        vision: pixels of images, and whether the vision tower is trained.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        prompts: files of PromptRow; none takes the packaged corpus.
        allow_overlap: train on prompts that a benchmark on this machine has too.
        rows: at most this many prompts of a kind, where no corpus says it.
        one_sided: why nothing but prompts to refuse is trained on; None asks for prompts to answer too.
        corpus: what sft is trained on, made of the recipe's prompts with its seed; `kind` says how (`corpora/`).
        rl_algorithm: how feedback is learned from: `dpo` (stage preference), `online-dpo` (the same, on fresh pairs at
            every step), or `grpo` (stage distill). A recipe may hold both stages; this one is run.
        sft, steering, preference, distill: the other stages; an absent one is skipped.
        monitor, checkpoints: see there.
        samples: rollouts of each step that go into samples.jsonl.
    """

    name: str
    about: str
    seed: int = 0
    dtype: Literal["", "bfloat16", "float32"] = ""
    device: str = ""
    tuning: Literal["lora", "full"] = "lora"
    lora: Lora
    vision: Vision = Vision()
    gradient_checkpointing: bool = True
    prompts: list[str] = Field(default=[])
    allow_overlap: bool = False
    rows: dict[Kind, Annotated[int, Field(ge=0)]] = Field(default={})
    one_sided: str | None = Field(default=None, min_length=1)
    corpus: Annotated[CrossSftConfig | CritiqueConfig | ReframingConfig, Field(discriminator="kind")] | None = None
    rl_algorithm: Literal["dpo", "online-dpo", "grpo"] | None = None
    sft: Sft | None = None
    steering: Steering | None = None
    preference: Preference | None = None
    distill: Distill | None = None
    monitor: MonitorSettings = MonitorSettings()
    checkpoints: Checkpoints = Checkpoints()
    samples: int = Field(default=64, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not set(self.stages) - {"corpus"}:
            raise ValueError("a recipe trains something: give it an sft, a preference or a distill stage")
        if self.corpus is not None and (self.corpus.prompts or self.corpus.seed or self.corpus.allow_overlap):
            raise ValueError("prompts, seed and allow_overlap of the corpus are the recipe's own: set them there")
        if self.corpus is not None and (self.rows or self.one_sided):
            raise ValueError("rows of the recipe and one_sided are for recipes without a corpus: set corpus.rows")
        pairs = self.preference.pairs if self.preference is not None else None
        if self.corpus is not None and pairs != "corpus" and (self.sft is None or self.sft.data != "corpus"):
            raise ValueError("the corpus stage builds what sft reads: set sft.data: corpus")
        if self.sft is not None and self.sft.data == "corpus" and self.corpus is None:
            raise ValueError("sft.data is corpus, but there is no corpus stage; name a file")
        if pairs == "corpus" and (self.corpus is None or not self.corpus.writes_pairs):
            raise ValueError("preference.pairs is corpus, but no corpus stage writes pairs; name a file, or ai")
        self._check_algorithm()
        if self.tuning == "full" and self.sft is not None and self.sft.adapter == "teacher":
            raise ValueError("a teacher is trained as an adapter; use tuning: lora, or give its folder as teacher.path")
        if self.tuning == "full" and self.distill is not None and self.distill.rollout.engine == "vllm":
            raise ValueError("vllm takes the student as an adapter at every step; use tuning: lora")
        if self.distill is not None and self.distill.teacher.adapter == "teacher":
            trained = self.sft is not None and self.sft.adapter == "teacher"
            if trained == (self.distill.teacher.path is not None):
                raise ValueError("teacher.adapter teacher needs an sft stage with adapter: teacher, or a teacher.path")
        placed = self.distill is not None and self.distill.teacher.placement is not None
        if placed and self.sft is not None and self.sft.adapter == "teacher" and self.sft.with_context:
            raise ValueError(
                "teacher.placement would show the teacher its constitution elsewhere than its fine-tuning did; leave "
                "it out, and say in the constitution's own file where it goes"
            )
        if (self.steering is not None) != (self.distill is not None and self.distill.uses_steering):
            raise ValueError(
                "the steering stage belongs to distill.teacher.intervention: refusal_direction or distill.signal.kind: "
                "token_set, which need it"
            )
        return self

    def _check_algorithm(self) -> None:
        chosen, preference = self.rl_algorithm, self.preference
        if chosen is None and preference is not None:
            raise ValueError("a preference stage needs rl_algorithm: dpo or online-dpo")
        if chosen in ("dpo", "online-dpo") and preference is None:
            raise ValueError(f"rl_algorithm {chosen} needs a preference stage")
        if chosen == "grpo" and self.distill is None:
            raise ValueError("rl_algorithm grpo needs a distill stage")
        if chosen == "online-dpo" and preference is not None and preference.pairs != "ai":
            raise ValueError("online-dpo compares fresh answers at every step: set preference.pairs: ai")
        engine = preference.rollout.engine if preference is not None and preference.rollout is not None else None
        if chosen == "dpo" and engine not in (None, "transformers"):
            raise ValueError(f"dpo samples its pairs with transformers, not {engine}; use rl_algorithm: online-dpo")

    @property
    def prompt_config(self) -> CorpusConfig:
        """Which prompts all stages use, and how the corpus is made of them."""
        files = [Path(name) for name in self.prompts]
        common = {"prompts": files, "seed": self.seed, "allow_overlap": self.allow_overlap}
        own = {} if self.corpus is not None else {"rows": self.rows, "one_sided": self.one_sided}
        return (self.corpus or CorpusConfig()).model_copy(update={**common, **own})

    @property
    def as_run(self) -> Self:
        """The recipe without the stage that `rl_algorithm` leaves out."""
        return self.model_copy(update={n: None for n in ("preference", "distill") if n not in self.stages})

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in the order they run."""
        other = {None: None, "grpo": "preference"}.get(self.rl_algorithm, "distill")
        names = ("corpus", "sft", "steering", "preference", "distill")
        return [name for name in names if name != other and getattr(self, name) is not None]
