"""The solver of every task: put the constitution on the messages, then answer with the sample's own random stream."""

import hashlib
from itertools import product
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    Model,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.constitution import constitution_names, load_constitution
from copsd_bench.engine.context import Context, Placement
from copsd_bench.engine.provider import PIXELS, CopsdAPI
from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.guidelines import CONTEXTS, load_guidelines
from copsd_bench.models.remote import SERVICE
from copsd_bench.records.schema import ConstitutionInfo

NO_CONSTITUTION = "none"
BY_CATEGORY = "category"


def context_named(constitution: str, category: str = "") -> Context | None:
    """The context of a sample.

    Args:
        constitution: `none`, a constitution's name or file, `category` for the one that matches the sample's category
            (`default` where there is none), or one of `CONTEXTS`; `@user` or `@system` after it overrides its
            placement.
        category: the sample's category.

    Raises:
        CopsdError: no such constitution or placement.
    """
    name, _, where = constitution.partition("@")
    if name == NO_CONSTITUTION:
        return None
    if where not in ("", "user", "system"):
        raise CopsdError(f"A constitution goes into the 'user' turn or the 'system' message, not {where!r}.")
    if name == BY_CATEGORY:
        name = category if category in constitution_names() else "default"
    placement: Placement | None = "user" if where == "user" else "system" if where == "system" else None
    if name in CONTEXTS:
        return load_guidelines().context(name, category, placement)
    if name not in constitution_names() and not name.endswith((".yaml", ".yml")):
        raise unknown_name("constitution", name, [*constitution_names(), *CONTEXTS])
    return load_constitution(name).context(placement)


def constitution_info(constitution: str) -> ConstitutionInfo:
    """What a record says of a constitution named as in `context_named`; by category, the digest covers all of them."""
    name = constitution.partition("@")[0]
    if name == NO_CONSTITUTION:
        return ConstitutionInfo()
    names = constitution_names() if name == BY_CATEGORY else [name]
    categories = ["", *load_guidelines().categories] if name in CONTEXTS else [""]
    contexts = [
        context
        for n, category in product(names, categories)
        if (context := context_named(constitution.replace(name, n, 1), category))
    ]
    return ConstitutionInfo(
        mode=name if name == BY_CATEGORY else contexts[0].name,
        digest=hashlib.sha256("\0".join(context.text for context in contexts).encode()).hexdigest(),
        placement=contexts[0].placement,
    )


@solver
def respond(constitution: str = NO_CONSTITUTION, seed: int = 0, pixels: tuple[int, int] | None = None) -> Solver:
    """Answer the sample once.

    Args:
        constitution: see `context_named`; `none` is the honest setting for a trained model.
        seed: with the sample id and the epoch it makes the sample's random stream; unused when greedy.
        pixels: fewest and most an image is scaled to, for this project's engines; others have limits of their own.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        context = context_named(constitution, str(state.metadata.get("category", "")))
        if context is not None:
            state.messages = with_context(state.messages, context)
        extra = image_options(get_model(), pixels) | continue_options(get_model(), state.messages)
        options: dict[str, Any] = {"extra_body": extra} if extra else {}
        return await generate(state, seed=sample_seed(seed, str(state.sample_id), state.epoch), **options)

    return solve


def image_options(model: Model, pixels: tuple[int, int] | None) -> dict[str, Any]:
    """Pixel limits for the request's body; none for a model of another provider, which would not know them."""
    return {PIXELS: list(pixels)} if pixels and isinstance(model.api, CopsdAPI) else {}


def continue_options(model: Model, messages: list[ChatMessage]) -> dict[str, Any]:
    """What tells a server (vLLM, SGLang) that the assistant's last message is the beginning of the answer wanted.

    This project's engines see it by themselves, as Inspect's providers `vllm` and `sglang` do.
    """
    started = messages[-1].role == "assistant" and getattr(model.api, "service", None) == SERVICE
    return {"add_generation_prompt": False, "continue_final_message": True} if started else {}


def sample_seed(seed: int, sample_id: str, epoch: int) -> int:
    """A seed in [0, 2**31) for one sample in one epoch, whatever other samples there are."""
    digest = hashlib.sha256(f"{seed}\0{sample_id}\0{epoch}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def with_context(messages: list[ChatMessage], context: Context) -> list[ChatMessage]:
    """Inspect messages with a context applied; works for every provider, images stay in place."""
    plain: list[dict[str, Any]] = [
        {
            "role": m.role,
            "content": m.content if isinstance(m.content, str) else [_plain(part) for part in m.content],
        }
        for m in messages
    ]
    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    return [
        kinds[m["role"]](
            content=m["content"] if isinstance(m["content"], str) else [_part(part) for part in m["content"]]
        )
        for m in context.apply(plain)
    ]


def _plain(part: Any) -> dict[str, Any]:
    return {"type": "text", "text": part.text} if isinstance(part, ContentText) else {"type": "other", "part": part}


def _part(part: dict[str, Any]) -> ContentText | ContentImage:
    return ContentText(text=part["text"]) if part["type"] == "text" else part["part"]
