"""The Inspect model provider `classifier/<model>`: a reply is a multi-label classifier's probabilities, as JSON."""

import asyncio
import json
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    ModelAPI,
    ModelInfo,
    ModelOutput,
    ModelUsage,
    set_model_info,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from copsd_bench.engine.model_thread import on_model_thread
from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.models.resolve import resolve_model

ARGUMENTS = ("dtype", "device", "revision")


class ClassifierAPI(ModelAPI):
    """A sequence classification model whose labels do not exclude each other (guard models that do not generate).

    It reads the text of the last message, with the end-of-sequence token behind it, and replies with
    `{"label": probability, ...}`; a text beyond its window gets a reply without numbers, and is never cut. Model args
    (`-M name=value`): `dtype`, `device`, `revision`.

    Raises:
        CopsdError: the model cannot be had, was not trained to classify, or its labels exclude each other.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        for name in model_args:
            if name not in ARGUMENTS:
                raise unknown_name("model argument", name, ARGUMENTS)
        resolved = resolve_model(model_name, revision=model_args.get("revision"))
        # As for the provider `copsd`: Inspect's generation cache keys on the base URL, not on the weights.
        self.base_url = f"classifier:{resolved.identity}"
        self.model, self.tokenizer = on_model_thread(
            _load, model_name, str(resolved.path), model_args.get("dtype", ""), model_args.get("device", "")
        )
        self.window = int(getattr(self.model.config, "max_position_embeddings", self.tokenizer.model_max_length))
        # As for the provider `copsd`: Inspect would load the model again to learn its window.
        set_model_info(f"classifier/{model_name}", ModelInfo(context_length=self.window))

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """Classify the last message's text."""
        ids = self.tokenizer(input[-1].text + (self.tokenizer.eos_token or "")).input_ids
        if len(ids) > self.window:
            reply = f"{len(ids)} tokens exceed the classifier's window of {self.window}"
        else:
            probabilities = await asyncio.to_thread(on_model_thread, self._probabilities, ids)
            labels = self.model.config.id2label
            reply = json.dumps({str(labels[i]): round(p, 6) for i, p in enumerate(probabilities)})
        output = ModelOutput.from_content(self.model_name, reply)
        output.usage = ModelUsage(input_tokens=len(ids), output_tokens=0, total_tokens=len(ids))
        return output

    def _probabilities(self, ids: list[int]) -> list[float]:
        """The probability of each label, in the order of the model's outputs."""
        import torch

        with torch.inference_mode():
            logits = self.model(input_ids=torch.tensor([ids], device=self.model.device)).logits[0]
        return [float(p) for p in torch.sigmoid(logits.float())]


def _load(name: str, path: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Model and tokenizer from a folder; nothing is fetched and no pickle is opened."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    from copsd_bench.models.dtype import checked_device, default_device, default_dtype

    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    if not any(str(one).endswith("ForSequenceClassification") for one in config.architectures or ()):
        # transformers would put a random head on it, and every verdict would be noise.
        raise CopsdError(f"{name} was not trained to classify sequences; give a classifier's name.", ExitCode.MODEL)
    if config.problem_type not in (None, "multi_label_classification"):
        raise CopsdError(
            f"The labels of {name} exclude each other ({config.problem_type}); give a multi-label classifier.",
            ExitCode.MODEL,
        )
    device = checked_device(device) if device else default_device()
    weights = getattr(torch, dtype or default_dtype(device))
    model = AutoModelForSequenceClassification.from_pretrained(
        path, dtype=weights, use_safetensors=True, local_files_only=True
    )
    return model.to(device).eval(), AutoTokenizer.from_pretrained(path, local_files_only=True)
