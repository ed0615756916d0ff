"""Models that run elsewhere: Inspect's own providers (`openai/...`), and a server that speaks the OpenAI protocol."""

import hashlib
import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from copsd_bench.errors import CopsdError, ExitCode, unknown_name
from copsd_bench.net import answers

if TYPE_CHECKING:
    from inspect_ai.model import Model

KEY_VARIABLE = "COPSD_SERVER_API_KEY"
LOADING = ("hf", "vllm", "vllm-completions", "sglang", "nnterp", "transformer_lens", "llama-cpp-python", "ollama")
"""Inspect's providers that load weights, start a server or look for one as soon as a model is made."""
SERVICE = "copsd-server"  # Inspect's `openai-api` provider derives the name of the key's variable from it
SERVER_CONNECTIONS = 64
"""Requests in flight at a server when nothing else is asked for: enough for continuous batching to fill a GPU."""
SERVER_RETRIES = 5
"""Inspect waits 3, 6, 12 ... seconds between them: a minute and a half, where it would else try for ever."""
LIST_SECONDS = 8.0
STYLE = re.compile(r"\[/?(bold|italic|dim|red|green|blue|yellow|cyan|magenta)\]")
"""Markup for a terminal in Inspect's messages."""


def is_inspect_model(name: str) -> bool:
    """Whether a name belongs to one of Inspect's providers (`openai/...`); a local folder of that name wins."""
    provider, _, rest = name.partition("/")
    if not rest or provider in ("copsd", ".", "..") or Path(name).expanduser().exists():
        return False
    import inspect_ai.model  # noqa: F401  (registers the providers)
    from inspect_ai._util.registry import registry_find

    return bool(
        registry_find(lambda info: info.type == "modelapi" and info.name in (provider, f"inspect_ai/{provider}"))
    )


def provider_model(name: str, base_url: str | None = None) -> "Model":
    """A model of one of Inspect's providers, or of the server at `base_url`.

    Raises:
        CopsdError: the provider lacks its package or its key.
    """
    from inspect_ai.model import GenerateConfig, get_model

    try:
        if base_url is None:
            return get_model(name)
        config = GenerateConfig(max_retries=SERVER_RETRIES)
        return get_model(f"openai-api/{SERVICE}/{name}", base_url=base_url, api_key=server_key(), config=config)
    except CopsdError:
        raise
    except Exception as error:  # each provider has errors of its own
        reason = " ".join(STYLE.sub("", str(getattr(error, "message", error))).split()).removeprefix("ERROR: ")
        raise CopsdError(f"Model {name} cannot be used: {reason.rstrip('.')}.", ExitCode.MODEL) from error


def check_provider_model(name: str) -> None:
    """Raise what `provider_model` would, where that costs no more than a client: before any weights are loaded."""
    if is_inspect_model(name) and name.partition("/")[0] not in LOADING:
        provider_model(name)


def server_key() -> str:
    """The server's API key from the environment; servers without keys take any."""
    return os.environ.get(KEY_VARIABLE) or "none"


def server_host(base_url: str) -> str:
    """Host and port of a base URL: what a record may say of it (a path can hold a token).

    Raises:
        CopsdError: no http address, or one that carries a password or a query.
    """
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if host is None or url.scheme not in ("http", "https"):
        raise CopsdError(f"--base-url {base_url!r} is no web address; write it like http://localhost:8000/v1.")
    if url.username is not None or url.query or url.fragment:
        raise CopsdError(f"--base-url holds more than scheme, host and path; put the key into {KEY_VARIABLE}.")
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def check_server(base_url: str, model: str) -> str:
    """Ask the server for its models, within seconds.

    Returns:
        A digest of what it says the name stands for (`root`: the folder or id of the weights, as vLLM and SGLang tell);
        empty if that is nothing but the name.

    Raises:
        CopsdError: `openai` is not installed, nothing answers, the key is refused, `/models` is not there, or the
            model is not among them (exit code MODEL).
    """
    import httpx

    where = f"The server {server_host(base_url)}"
    if importlib.util.find_spec("openai") is None:
        raise CopsdError("--base-url needs the package openai: pip install 'copsd[api]'.", ExitCode.MODEL)
    if not answers(base_url):
        raise CopsdError(f"{where} does not answer; start it, or correct --base-url.", ExitCode.MODEL)
    address = f"{base_url.rstrip('/')}/models"
    try:
        response = httpx.get(address, headers={"Authorization": f"Bearer {server_key()}"}, timeout=LIST_SECONDS)
    except httpx.HTTPError as error:
        raise CopsdError(f"{where} did not list its models ({type(error).__name__}).", ExitCode.MODEL) from error
    if response.status_code in (401, 403):
        raise CopsdError(
            f"{where} refused the key (HTTP {response.status_code}); set {KEY_VARIABLE} to one it accepts.",
            ExitCode.MODEL,
        )
    try:
        listed = response.json() if response.status_code == 200 else {}
        roots = {str(entry["id"]): str(entry.get("root") or "") for entry in listed["data"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CopsdError(
            f"{where} has no list of models below --base-url (HTTP {response.status_code}); most servers want "
            "the path /v1 at its end.",
            ExitCode.MODEL,
        ) from error
    if model not in roots:
        raise unknown_name(f"model on the server {server_host(base_url)}", model, roots, ExitCode.MODEL)
    return "" if roots[model] in ("", model) else hashlib.sha256(roots[model].encode()).hexdigest()[:12]
