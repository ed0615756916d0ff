"""The README says what is: commands parse, files exist, tables are what the commands print, its code runs."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
import yaml

from copsd_bench.cli import app as bench
from copsd_bench.errors import ExitCode
from copsd_train.cli import app as train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
BLOCKS = [(match[2], match[3]) for match in FENCED.finditer(README)]


def commands() -> list[str]:
    """Every `copsd-bench ...` and `copsd-train ...` with arguments: bash and workflow blocks, and inline code."""
    found = [line for language, text in BLOCKS if language in ("bash", "yaml") for line in text.splitlines()]
    inline = re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", FENCED.sub("", README))  # may go on in the next line
    found += [" ".join(code.split()) for code in inline] + re.findall(r"<!-- output: (.+) -->", README)
    lines = [re.sub(r"^\s*- run: |\s+#.*$", "", line).strip() for line in found]
    return list(dict.fromkeys(line for line in lines if line.startswith(("copsd-bench ", "copsd-train "))))


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    program, *arguments = shlex.split(line)
    command: Any = typer.main.get_command({"copsd-bench": bench, "copsd-train": train}[program])
    while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
        command = command.commands[arguments.pop(0)]
    if arguments == ["--help"]:
        return
    assert not hasattr(command, "commands"), f"no such command: {line}"
    needed = [
        parameter for parameter in command.params if parameter.required and parameter.param_type_name == "argument"
    ]
    if not arguments and needed:  # the command is only named
        return
    command.make_context(program, arguments)  # raises on unknown options, bad values, missing arguments


def test_the_readme_has_commands() -> None:
    assert len(commands()) >= 20


def test_every_file_named_exists() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    committed = r"(?:copsd_bench|copsd_train|constitutions|results|tests)/[\w./-]+\.(?:py|ya?ml|json|svg)"
    names = set(targets) | set(re.findall(committed, README)) - {"copsd_bench/benchmarks/text/aime24.py"}
    assert len(names) >= 6
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_every_folder_of_the_layout_exists() -> None:
    (layout,) = [text for _, text in BLOCKS if text.startswith("copsd_bench/  ")]
    parent = ""
    for line in layout.splitlines():
        folder = line.split()[0]
        parent = parent if line.startswith(" ") else folder
        assert (ROOT / parent / ("" if folder == parent else folder)).is_dir(), folder


def test_exit_codes_are_all_documented() -> None:
    documented = re.findall(r"^\| (\d+) \| ", README, re.MULTILINE)
    assert documented == [str(int(code)) for code in ExitCode]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z-]+)`", README)) | {"demo", "test"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_yaml_config_is_valid(tmp_path: Path) -> None:
    from copsd_bench.config import run_config

    (text,) = [text for language, text in BLOCKS if language == "yaml" and "model:" in text]
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert run_config(file, {}).task == ["xstest", "strongreject"]


def test_tables_and_figure_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `python results/readme.py` (or `make results` for new numbers) when this fails."""
    monkeypatch.chdir(ROOT)
    assert script("results/readme.py").updated(README) == README
    figure = script("results/figures/lengths.py")
    base, other = (figure.read_record(Path(f"results/mini/{name}.json")) for name in ("base", "constitution"))
    assert figure.draw(base, other) == Path("results/figures/lengths.svg").read_text(encoding="utf-8")


def script(path: str) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_benchmark_runs(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ten lines as they stand, on the data they pin, with an answer that is right for one item."""
    from inspect_ai import eval
    from inspect_ai.log import read_eval_log
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from copsd_bench.records.build import task_record
    from copsd_bench.sources.pins import Pin

    (code,) = [text for language, text in BLOCKS if language == "python" and "@task" in text]
    (pin,) = [text for language, text in BLOCKS if language == "yaml" and "sha256:" in text]
    entry = yaml.safe_load(pin)["aime24"]
    monkeypatch.setattr("copsd_bench.sources.pins.pins", lambda: {"aime24": Pin(name="aime24", **entry)})
    namespace: dict[str, Any] = {"__name__": "aime24"}
    exec(compile(code, "README.md", "exec"), namespace)
    task = namespace["aime24"]()
    answer = ModelOutput.from_content("mockllm", f"The answer is {task.dataset[0].target}")
    # Without a usage Inspect counts tokens itself, with a vocabulary it downloads.
    answer.usage = ModelUsage(input_tokens=1, output_tokens=4, total_tokens=5)
    model = get_model("mockllm/model", custom_outputs=[answer] * 30)
    (log,) = eval(task, model=model, log_dir=str(tmp_path), display="none", max_connections=1)
    record = task_record(read_eval_log(log.location), 0)
    right = sum(sample.target == task.dataset[0].target for sample in task.dataset) / 30
    assert record.metrics["accuracy"].value == pytest.approx(right)
    assert record.metrics["accuracy"].n == 30
    assert "distinct_2" in record.panel
