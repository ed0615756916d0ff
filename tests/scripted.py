"""A model of Inspect that replies by a script, so that what a judge or an author says can be chosen."""

from collections.abc import Callable
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi

SCRIPTS: dict[str, Callable[[list[ChatMessage], GenerateConfig], str]] = {}
"""What `scripted/NAME` replies to a conversation."""


@modelapi("scripted")
class Scripted(ModelAPI):
    async def generate(
        self, input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        return ModelOutput.from_content(self.model_name, SCRIPTS[self.model_name](input, config))
