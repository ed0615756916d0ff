"""What was typed on a command line, as a record may hold it: without the folders of the machine it was typed on."""

import re
from pathlib import Path

_NAMED = re.compile(r"((?:^|[:,=])[\w-]+)(/(?=[/~])|:(?=~|/[^/]))([^,]*)")
"""A path behind a provider (`hf//home/someone/model`), a judge's format or `constitution:`, alone or in a list."""
_SECRET = re.compile(r"(?:^|[-_])(?:token|key|secret|password)$", re.IGNORECASE)


def published(argument: str) -> str:
    """A command-line argument as a record may hold it.

    Absolute paths and those below a home folder are cut to their last part, also behind a `=`, a provider or
    `constitution:`; relative ones and everything else stay as typed. Contents are known by their digests, so nothing is
    lost. The value of a `NAME=VALUE` that names a token, key, secret or password is left out.

    >>> published("/home/someone/models/my-model"), published("--out=~/runs"), published("./my-model")
    ('my-model', '--out=runs', './my-model')
    """
    argument = _NAMED.sub(lambda match: match[1] + match[2] + _last_part(match[3]), argument)
    name, equals, value = argument.partition("=")
    if equals and _SECRET.search(name):
        return f"{name}=..."
    if equals and not name.startswith(("/", "~")):
        return f"{name}={_last_part(value)}"
    return _last_part(argument)


def _last_part(text: str) -> str:
    path = Path(text)
    return path.name if text.startswith("~") or path.is_absolute() else text
