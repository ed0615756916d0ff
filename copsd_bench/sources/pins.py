"""Pins: for every benchmark file its licence, where it may come from, and what it must contain (`pins*.yaml`)."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from copsd_bench.errors import ExitCode, unknown_name

_SHA256 = r"^[0-9a-f]{64}$"
_COMMIT = r"^[0-9a-f]{40}$"


class HubRepo(BaseModel):
    """A dataset repository on the hub at a commit (or `main`, where no commit could be checked yet).

    `gated`: its terms must be accepted by an account first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    repo: str
    revision: str = Field(pattern=_COMMIT + "|^main$")
    gated: bool = False


class SourceFile(BaseModel):
    """One file of records.

    Attributes:
        mirror: path below `COPSD_DATA_DIR`.
        github: `owner/repo@commit/path` of the same bytes; empty if there is no such copy.
        sha256, bytes: of the mirror's and GitHub's file; empty and 0 for a file that only the hub has.
        count: number of records, whatever the source; 0 where it could not be checked yet.
        hub_file: pattern of the same records' files in the hub repository; empty if it has none.
        hub_sha256: of the hub's file where it is known; without it the hub's file is verified by revision and count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    mirror: str
    github: str = Field(default="", pattern=r"^$|^[\w.-]+/[\w.-]+@[0-9a-f]{40}/.+$")
    sha256: str = Field(default="", pattern=r"^$|" + _SHA256)
    count: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    hub_file: str = ""
    hub_sha256: str = Field(default="", pattern=r"^$|" + _SHA256)

    @property
    def url(self) -> str:
        """The raw file on GitHub at its commit; empty if there is none."""
        if not self.github:
            return ""
        repo, _, rest = self.github.partition("@")
        return f"https://raw.githubusercontent.com/{repo}/{rest}"

    @property
    def commit(self) -> str:
        """The GitHub commit; empty if there is none."""
        return self.github.partition("@")[2].partition("/")[0]


class Pin(BaseModel):
    """A benchmark's data. `converter` names a function that brings every source to one schema.

    Files are named `test`, `train` ..., or `test/<subset>` where every subset is a file of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    licence: str
    hub: HubRepo | None = None
    converter: str = ""
    files: dict[str, SourceFile] = Field(min_length=1)

    @property
    def size(self) -> int:
        """Number of test records; 0 where it could not be checked yet."""
        return sum(self.files[name].count for name in self.names("test"))

    def names(self, split: str) -> list[str]:
        """The files of a split, in order."""
        return [name for name in self.files if name.partition("/")[0] == split]

    def file(self, name: str) -> SourceFile:
        """One of its files.

        Raises:
            CopsdError: there is no such file.
        """
        if name not in self.files:
            raise unknown_name(f"file of {self.name}", name, self.files, ExitCode.USAGE)
        return self.files[name]


@cache
def pins() -> dict[str, Pin]:
    """All pins by name, from every `pins*.yaml`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Pin] = {}
    for path in sorted(Path(__file__).parent.glob("pins*.yaml")):
        for name, entry in yaml.load(path.read_text(encoding="utf-8"), Loader=loader).items():
            found[name] = Pin(name=name, **entry)
    return found


def pin_named(name: str) -> Pin:
    """A pin by name.

    Raises:
        CopsdError: there is none, with the nearest name.
    """
    if name not in pins():
        raise unknown_name("benchmark", name, pins(), ExitCode.USAGE)
    return pins()[name]
