"""Settings that users keep in YAML files."""

from pathlib import Path
from typing import Any

import yaml

from copsd_bench.errors import CopsdError


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML's own reader would drop the first without a word."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        found = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in found:
                raise yaml.composer.ComposerError(None, None, f"{name!r} is given twice", key.start_mark)
            found |= {name} - {None}
        return node


def read_mapping(file: Path, kind: str, example: str) -> dict[str, Any]:
    """A file's settings by name; none if it is empty.

    Args:
        file: YAML.
        kind: what such a file is called, for messages.
        example: a setting it may hold.

    Raises:
        CopsdError: it cannot be read, is not YAML, or is no mapping of names.
    """
    try:
        settings = yaml.load(file.read_text(encoding="utf-8"), _Loader)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CopsdError(f"There is no {kind.lower()} file {file}; check the path.") from error
    except OSError as error:
        raise CopsdError(f"{kind} file {file} cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark, error.problem or error.context or "it cannot be read"
        where = f" line {mark.line + 1}" if mark is not None else ""
        hint = " (indent with spaces, not tabs)" if "\\t" in problem else ""
        raise CopsdError(f"{kind} file {file}{where} is not valid YAML: {problem}{hint}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CopsdError(f"{kind} file {file} is not valid YAML: {str(error).splitlines()[0]}.") from error
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise CopsdError(f"{kind} file {file} must be a mapping of settings, e.g. `{example}`.")
    return settings
