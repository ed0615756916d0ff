"""What a row adds to its prompt: a constitution, a reference answer, an instruction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from copsd_bench.errors import CopsdError

SLOT = "{user_query}"
Placement = Literal["user", "system"]


@dataclass(frozen=True)
class Context:
    """A text conditioned on.

    Attributes:
        name: for records and messages.
        text: `user` placement: a template with one `{user_query}` slot that wraps the last user turn;
            `system` placement: the system message, put before an existing one's text.
        placement: where the text goes.
    """

    name: str
    text: str
    placement: Placement = "user"

    def __post_init__(self) -> None:
        if self.placement == "user" and self.text.count(SLOT) != 1:
            raise CopsdError(f"Context {self.name!r} must hold the slot {SLOT} exactly once to wrap a user turn.")
        if self.placement == "system" and SLOT in self.text:
            raise CopsdError(f"Context {self.name!r} has the slot {SLOT}, which a system message cannot fill.")

    def wrap(self, query: str) -> str:
        """The user turn with the context around it (`user` placement)."""
        before, after = self.text.split(SLOT)
        return before + query + after

    def apply(self, conversation: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The conversation with the context in it. The question stays whole; images keep their place.

        Args:
            conversation: messages with `role` and `content` (text, or a list of parts with `type`).

        Raises:
            CopsdError: there is no user turn to wrap, or it holds no text.
        """
        messages = [dict(message) for message in conversation]
        if self.placement == "system":
            if messages and messages[0]["role"] == "system":
                messages[0]["content"] = self._before(messages[0]["content"])
                return messages
            return [{"role": "system", "content": self.text}, *messages]
        for message in reversed(messages):
            if message["role"] == "user":
                message["content"] = self._wrap_content(message["content"])
                return messages
        raise CopsdError(f"Context {self.name!r} wraps a user turn, but the conversation has none.")

    def _before(self, content: Any) -> Any:
        if isinstance(content, str):
            return f"{self.text}\n\n{content}"
        return [{"type": "text", "text": f"{self.text}\n\n"}, *content]

    def _wrap_content(self, content: Any) -> Any:
        if isinstance(content, str):
            return self.wrap(content)
        texts = [i for i, part in enumerate(content) if part.get("type") == "text"]
        if not texts:
            raise CopsdError(f"Context {self.name!r} wraps the text of a user turn, but the turn has no text.")
        parts = [dict(part) for part in content]
        # One turn may interleave text and images: the context opens before the first text and closes after the last.
        before, after = self.text.split(SLOT)
        parts[texts[0]]["text"] = before + parts[texts[0]]["text"]
        parts[texts[-1]]["text"] = parts[texts[-1]]["text"] + after
        return parts
