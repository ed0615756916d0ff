"""One model under training: base weights, named LoRA adapters on them, and who looks at them how."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from copsd_bench.cachedir import staging_dir
from copsd_bench.engine.head import Head
from copsd_bench.engine.heap import release_memory
from copsd_bench.engine.images import PixelLimits
from copsd_bench.engine.inputs import extra_inputs
from copsd_bench.engine.packed import packed
from copsd_bench.engine.protocol import Completion, Intervention, Prompt, Sampling, TokenScores, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.adapter import not_language
from copsd_bench.models.dtype import checked_device, default_device, default_dtype
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.adapters import check_base, replace_folder, save_adapter
from copsd_train.recipe import Recipe
from copsd_train.recipe_parts import Lora, Vision
from copsd_train.sharding import sharded_copy


class CompletionModel(torch.nn.Module):
    """The model as it is trained: completion positions only reach the LM head.

    All computing with gradients happens inside `forward`, the LM head and the loss too, so that DDP and FSDP can wrap
    this one module.

    Args:
        head: the model.
        memory_first: on a CPU, give freed memory back before each part: glibc keeps hundreds of MB of it, in pieces
            that do not fit the next part's blocks.
    """

    def __init__(self, head: Head, memory_first: bool = False) -> None:
        super().__init__()
        self.model = head.model
        self.head = head
        self.release = release_memory if memory_first and head.model.device.type == "cpu" else lambda: None

    def forward(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[int]],
        loss: Callable[[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]], Any],
    ) -> Any:
        """`loss(states, head)` of B rows, T the longest completion.

        Args:
            prompts: one a row.
            completions: token ids of each row.
            loss: gets the states [B, T, H] that predict each completion token (rows are padded on the right with
                states of no meaning) and the LM head, states -> logits in float32.
        """
        rows = [[*prompt.ids, *completion[:-1]] for prompt, completion in zip(prompts, completions, strict=True)]
        width = max(map(len, rows))
        device = self.head.model.device
        # Padding on the right is after everything that counts: a causal model does not see it, and without a mask
        # attention needs neither repeated keys nor a slower kernel.
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
        extra = extra_inputs(prompts, self.head.model, [len(row) for row in rows])
        self.release()
        states = self.head.states(input_ids=ids, use_cache=False, **extra)
        self.release()
        starts = torch.tensor([len(prompt.ids) - 1 for prompt in prompts], device=device)
        steps = torch.arange(max(map(len, completions)), device=device)
        positions = (starts.unsqueeze(1) + steps).clamp(max=width - 1)
        result = loss(states.gather(1, positions.unsqueeze(2).expand(-1, -1, states.shape[2])), self.head.logits)
        self.release()
        return result


class Policy:
    """Student, teacher and base as views of the same weights (LoRA), or of a trained and a fixed copy (full).

    Args:
        base: the model on disk.
        recipe: tuning, adapter size, dtype, device, seed.
        trained: name of the adapter that is trained; with full tuning, of the weights.
        adapters: PEFT folders loaded beside it by name; `trained` may be among them, else it starts as a new one.
        ema: also keep a view `ema`, an average of what is trained.
        start: what an earlier stage left: `trained` begins there, and so does the view `reference`, which stays. None
            begins with a new adapter (or the base's weights), and the reference is the base.
        sharded: train a copy that is split over all processes; views stay whole.

    Raises:
        CopsdError: the device is not there, or an adapter belongs to another base.
    """

    def __init__(
        self,
        base: ResolvedModel,
        recipe: Recipe,
        trained: str = "student",
        adapters: Mapping[str, Path] | None = None,
        ema: bool = False,
        sharded: bool = False,
        start: Path | None = None,
    ) -> None:
        adapters = dict(adapters or {})
        if start is not None and recipe.tuning == "lora":
            adapters |= dict.fromkeys([trained, "reference", *(["ema"] if ema else [])], start)
        for folder in adapters.values():
            check_base(folder, base)
        self.base = base
        self.trained = trained
        self.full = recipe.tuning == "full"
        device = checked_device(recipe.device or default_device())
        dtype = recipe.dtype or default_dtype(device)

        def load(folders: Mapping[str, Path], weights: Path = base.path) -> TransformersEngine:
            own_code, limits = base.trust_remote_code, PixelLimits.of(recipe.vision.pixels)
            return TransformersEngine(weights, folders, dtype, device, None, own_code, limits=limits)

        if self.full:
            # What is trained cannot be looked at without what was trained: base and teacher need weights of their own.
            self.engine, fixed = load({}, start or base.path), load(adapters)
            self.engine.model.requires_grad_(True)
            if recipe.vision.tower == "frozen":
                _freeze_vision(self.engine.model)
            self._names = [n for n, p in self.engine.model.named_parameters() if p.requires_grad]
            self._sides = {name: (fixed, View(adapter=name)) for name in adapters}
            self._sides |= {"base": (fixed, View()), trained: (self.engine, View())}
            if ema:
                self._sides["ema"] = (load({}, start or base.path), View())
            if start is not None:
                self._sides["reference"] = (load({}, start), View())
        else:
            self.engine = load(adapters)
            names = [trained, "ema"] if ema else [trained]
            for name in names:
                if name not in adapters:
                    torch.manual_seed(recipe.seed)  # student and ema start equal
                    _add_adapter(self.engine, name, recipe.lora, recipe.vision)
            self.engine.model.set_adapter(trained)
            self._sides = {name: (self.engine, View(adapter=name)) for name in {*names, *adapters}}
            self._sides["base"] = (self.engine, View())
        self._sides.setdefault("reference", self._sides["base"])
        if recipe.gradient_checkpointing:
            self.engine.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.safety_tokens: torch.Tensor | None = None
        self.model: Any = CompletionModel(self.engine.head, recipe.gradient_checkpointing)
        if sharded:
            self.model = sharded_copy(self.model, "model")

    def generate(
        self, who: str, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One completion a prompt under a view."""
        engine, view = self._sides[who]
        with packed(engine.model):
            return engine.generate(view, prompts, sampling, seeds)

    def score(
        self, who: str, prompts: Sequence[Prompt], completions: Sequence[Sequence[int]], entropy: bool = False
    ) -> list[TokenScores]:
        """Log-probabilities of given completions under a view; a prompt shared by several is computed once."""
        engine, view = self._sides[who]
        return engine.score(view, prompts, completions, entropy)

    def side(self, who: str) -> tuple[TransformersEngine, View]:
        """The engine and the view of `student`, `teacher`, `ema`, `base`, `reference` or `steered`."""
        return self._sides[who]

    def steer(self, who: str, intervention: Intervention, tokens: Sequence[int]) -> None:
        """Add the view `steered`: that of `who` under an intervention; and keep the tokens it speaks in."""
        engine, view = self._sides[who]
        self._sides["steered"] = (engine, replace(view, intervention=intervention))
        self.safety_tokens = torch.tensor(list(tokens))

    def parameters(self, who: str | None = None) -> dict[str, torch.nn.Parameter]:
        """Parameters of what is trained, or of the view `ema`, by names that agree between the two."""
        model = self.model.model if who is None else self._sides[who][0].model
        if self.full:
            parameters = dict(model.named_parameters())
            return {name: parameters[name] for name in self._names}
        mark = f".{who or self.trained}."
        return {n.replace(mark, "."): p for n, p in model.named_parameters() if "lora_" in n and mark in n}

    def mirror(self) -> dict[str, torch.nn.Parameter]:
        """The whole parameters beside a sharded copy; empty if there is none."""
        return {} if self.model.model is self.engine.model else self.parameters(self.trained)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Training mode: dropout on adapters only, checkpointing as set.

        Dropout in the base would make the policy differ from the one that sampled. Some models drop by modules, others
        by functions that ask whether their module trains: so only adapters' dropout and layers that recompute do.
        """
        model = self.model.model
        model.eval()
        rates: list[tuple[torch.nn.Module, str, float]] = []
        for name, module in model.named_modules():
            if "lora_dropout" in name:
                module.training = True
            elif getattr(module, "gradient_checkpointing", False):
                module.training = True
                own = ((key, rate) for key, rate in vars(module).items() if "drop" in key and isinstance(rate, float))
                rates += ((module, key, rate) for key, rate in own)
        try:
            for module, key, _ in rates:
                setattr(module, key, 0.0)
            yield
        finally:
            for module, key, rate in rates:
                setattr(module, key, rate)
            model.eval()
            self.model.release()

    def save(self, folder: Path) -> None:
        """What is trained, as a PEFT folder or (full tuning) as a model folder; complete or not at all."""
        model = self.engine.model
        with staging_dir(folder.parent, folder.name) as staging:
            if self.full:
                model.save_pretrained(staging)
                (self.engine.encode_prompt.processor or self.engine.tokenizer).save_pretrained(staging)
            else:
                save_adapter(model, self.trained, staging, self.base)
            replace_folder(staging, folder)


def _freeze_vision(model: Any) -> None:
    pattern = not_language(model)
    for name, parameter in model.named_parameters():
        if pattern is not None and re.fullmatch(pattern, name):
            parameter.requires_grad_(False)


def _add_adapter(engine: TransformersEngine, name: str, lora: Lora, vision: Vision) -> None:
    """A new adapter (its B factor is zero: it changes nothing yet), in the base's dtype."""
    from peft import LoraConfig, PeftModel, get_peft_model

    excluded = not_language(engine.model) if vision.tower == "frozen" else None
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets,
        exclude_modules=excluded, task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        if isinstance(engine.model, PeftModel):
            engine.model.add_adapter(name, config, autocast_adapter_dtype=False)
        else:
            engine.model = get_peft_model(engine.model, config, name, autocast_adapter_dtype=False)
            engine.head = Head(engine.model)
    except ValueError as error:
        raise CopsdError(f"The adapter {name!r} does not fit this model: {str(error).splitlines()[0]}") from error
    engine.model.eval()
