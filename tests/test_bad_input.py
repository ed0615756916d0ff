"""Bad input: one sentence on stderr, a documented exit code, no traceback, nothing lost."""

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from copsd_bench.cli import app
from copsd_bench.command_line import make_app, run_app
from copsd_bench.config import run_config
from copsd_bench.engine.load import load_model
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel
from tests.cli import copsd_bench
from tests.engine.tiny import save_tiny
from tests.models.tiny import save_adapter, save_model

RESULTS = Path(__file__).parents[1] / "results" / "mini"


def refused(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit code and the one sentence of a command that must fail, as another process."""
    done = copsd_bench(*arguments, cwd=folder, **environment)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.rstrip().endswith((".", "?")), done.stderr
    return done.returncode, done.stderr.strip()


def error_of(*arguments: str) -> CopsdError:
    """The error of a command, in this process: for the many cases that need no process of their own."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, CopsdError), (result.output, result.exception)
    message = str(result.exception)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    return result.exception


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


NAMES = [
    (("--model", "smolm2-135m"), "did you mean 'smollm2-135m'", ExitCode.MODEL),
    (("--model", "./not-there"), "no model folder", ExitCode.MODEL),
    (("--task", "xtest"), "did you mean 'xstest'", ExitCode.USAGE),
    (("--suite", "txt"), "did you mean 'text'", ExitCode.USAGE),
    (("--constitution", "defualt"), "did you mean 'default'", ExitCode.USAGE),
    (("--judge", "refusl"), "did you mean 'refusal'", ExitCode.USAGE),
    (("--engine", "vlm"), "'transformers' or 'vllm'", ExitCode.USAGE),
    (("--dtype", "float8"), "'bfloat16'", ExitCode.USAGE),
    (("--device", "gpu"), "cannot be used here", ExitCode.USAGE),
    (("--limit", "0"), "--limit 0", ExitCode.USAGE),
    (("--epochs", "0"), "--epochs 0", ExitCode.USAGE),
    (("--max-tokens", "0"), "--max-tokens 0", ExitCode.USAGE),
    (("--temperature", "-1"), "--temperature -1", ExitCode.USAGE),
    (("--top-p", "0"), "--top-p 0", ExitCode.USAGE),
    (("--placement", "system"), "needs a --constitution", ExitCode.USAGE),
    (("--max-tokens", "8192"), "context window of 8192", ExitCode.USAGE),
    (("--revision", "main"), "--revision belongs to hub ids", ExitCode.USAGE),
    (("--config", "missing.yaml"), "There is no config file missing.yaml", ExitCode.USAGE),
    (("--prompts", "missing.csv"), "does not exist", ExitCode.DATA),
    (("--adapter", "missing"), "no adapter folder", ExitCode.MODEL),
    (("--engine", "vllm", "--engine-arg", "a=["), "not valid YAML", ExitCode.USAGE),
    # An option that would do nothing is refused, not passed over.
    (("--model", "mockllm/model", "--dtype", "float32"), "--dtype needs a local model", ExitCode.USAGE),
    (("--model", "mockllm/model", "--engine", "vllm"), "--engine needs a local model", ExitCode.USAGE),
    (("--model", "mockllm/model", "--revision", "main"), "--revision needs a local model", ExitCode.USAGE),
    (("--task", "mini", "--judge", "mockllm/model"), "None of these tasks is graded by a model", ExitCode.USAGE),
    (("--judge", "copsd/smollm2-135m"), "is the model under test", ExitCode.USAGE),
]


@pytest.mark.parametrize(("arguments", "words", "code"), NAMES, ids=[" ".join(case[0]) for case in NAMES])
def test_a_wrong_name_or_value_is_named(arguments: tuple[str, ...], words: str, code: ExitCode) -> None:
    error = error_of("run", "--dry-run", *arguments)
    assert words in str(error)
    assert error.code == code
    assert not Path("runs").exists()


NO_KEY = "Model openai/gpt-4o cannot be used: Unable to initialise OpenAI client No OPENAI_API_KEY"


@pytest.mark.parametrize(
    "arguments",
    [("--model", "openai/gpt-4o"), ("--task", "strongreject", "--limit", "1", "--judge", "openai/gpt-4o")],
    ids=["tested", "judge"],
)
def test_a_key_that_is_not_there_is_missed_before_anything_is_loaded(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    error = error_of("run", "--dry-run", *arguments)
    assert str(error).startswith(NO_KEY)
    assert error.code == ExitCode.MODEL


def test_an_out_folder_that_cannot_be_is_refused_before_anything_is_loaded() -> None:
    Path("a-file").touch()
    for out in ("a-file", "a-file/runs"):
        error = error_of("run", "--dry-run", "--model", "mockllm/model", "--out", out)
        assert "a-file is no folder; choose another --out" in str(error)
        assert error.code == ExitCode.DISK


YAML = {
    "limitt: 3\n": "did you mean 'limit'",
    "suite: [mini\n": "run.yaml line 2 is not valid YAML",
    "suite: mini\n\tlimit: 3\n": "line 2 is not valid YAML: found character '\\t' that cannot start any token "
    "(indent with spaces, not tabs)",
    "- mini\n": "must be a mapping",
    "limit: many\n": "--limit 'many'",
    "limit: yes\n": "--limit True is not valid: it takes no yes or no",
    "limit: 3\nsuite: mini\nlimit: 4\n": "run.yaml line 3 is not valid YAML: 'limit' is given twice",
    "limit: 0\n": "--limit 0",
    "model: null\n": "--model None",
    "1: mini\n": "must be a mapping",
    "task: [mini, xtest]\n": "did you mean 'xstest'",
}


def test_a_yaml_file_names_options_as_the_command_line_does() -> None:
    Path("run.yaml").write_text("task: mini\nmax-tokens: 8\n")
    config = run_config(Path("run.yaml"), {})
    assert (config.task, config.max_tokens) == (["mini"], 8)


def test_a_missing_engine_is_noticed_by_a_dry_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "vllm" else found(name, *a))
    assert "needs vLLM" in str(error_of("run", "--dry-run", "--engine", "vllm"))


def test_what_nobody_foresaw_is_no_red_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app("tool")

    @app.command()
    def fail() -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr("sys.argv", ["tool"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == ExitCode.BUG == 70
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("error: This is a bug (RuntimeError); please report it with the lines above.\n")


def test_a_path_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    code, sentence = refused(tmp_path, "leaderboard", str(RESULTS), "--out", "/proc/board.md")
    assert code == ExitCode.DISK
    assert "Cannot use /proc/" in sentence


def test_a_viewer_without_logs_says_so(tmp_path: Path) -> None:
    assert "holds no log" in str(error_of("view", str(tmp_path)))


@pytest.mark.parametrize(("text", "words"), YAML.items(), ids=[text.strip() for text in YAML])
def test_a_wrong_yaml_file_says_what_is_wrong(text: str, words: str) -> None:
    Path("run.yaml").write_text(text)
    error = error_of("run", "--dry-run", "--config", "run.yaml")
    assert words in str(error)
    assert error.code == ExitCode.USAGE


PROMPTS = {
    "a.csv": ("", "found: nothing"),
    "b.csv": ("text\nhi\n", "column 'prompt'"),
    "c.csv": ("prompt,label\nhi,harmfull\n", "line 2 has label 'harmfull'"),
    "d.csv": ('prompt,label\n"open,harmful\n', "not valid csv"),
    "e.csv": ("prompt\nHello, how are you?\n", "quotes around a text with a comma"),
    "f.csv": ("prompt\n  \n", "no prompt text"),
    "g.csv": ("prompt\n", "no rows"),
    "h.jsonl": ('{"prompt": "a"\n', "line 1 is not valid JSON"),
    "i.jsonl": ('{"prompt": "a"}\n[1]\n', "line 2 is not a JSON object"),
    "j.jsonl": ('{"prompt": 5}\n', "no prompt text"),
    "k.jsonl": ("", "no rows"),
    "l.txt": ("hi\n", "must be .csv or .jsonl"),
}


@pytest.mark.parametrize(("name", "case"), PROMPTS.items(), ids=list(PROMPTS))
def test_a_wrong_prompts_file_names_the_line(name: str, case: tuple[str, str]) -> None:
    text, words = case
    Path(name).write_text(text)
    error = error_of("run", "--dry-run", "--prompts", name)
    assert words in str(error)
    assert error.code == ExitCode.DATA


def test_line_separators_inside_a_prompt_are_kept() -> None:
    from copsd_bench.benchmarks.prompts import read_prompts

    text = "one\u2028two\x0bthree"
    Path("p.jsonl").write_text(json.dumps({"prompt": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    Path("p.csv").write_text(f'prompt\n"{text}\nfour"\n{text}\n', encoding="utf-8")
    assert read_prompts(Path("p.jsonl"))[0]["prompt"] == text
    assert [row["prompt"] for row in read_prompts(Path("p.csv"))] == [f"{text}\nfour", text]


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter", save_model(tmp_path / "base"))
    error = error_of("run", "--dry-run", "--adapter", str(adapter))
    assert "adapter of another base" in str(error)
    assert error.code == ExitCode.MODEL


def test_a_folder_without_a_tokenizer_says_what_to_add(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny")
    (model / "tokenizer.json").unlink()
    with pytest.raises(CopsdError, match=r"The tokenizer of .*/tiny cannot be loaded: .*; copy tokenizer.json"):
        load_model(model, {}, "float32", "cpu", False)


def test_a_tokenizer_without_a_chat_template_is_refused_before_anything_runs(tmp_path: Path) -> None:
    error = error_of("run", "--dry-run", "--model", str(save_tiny(tmp_path / "tiny", template=None)))
    assert "no chat template" in str(error)
    assert error.code == ExitCode.MODEL


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("damage", ["empty", "cut", "altered", "count", "missing"])
def test_a_damaged_data_file_is_found(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    from copsd_bench.sources.loader import load_records

    source = load_records("xstest").paths[0]
    copy = tmp_path / "mirror" / source.relative_to(data_dir)
    copy.parent.mkdir(parents=True)
    shutil.copy(source, copy)
    data = copy.read_bytes()
    changed = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "altered": data.replace(b"kill", b"hill", 1),
        "count": data + data.splitlines(keepends=True)[-1],
    }
    if damage == "missing":
        copy.unlink()
    else:
        copy.write_bytes(changed[damage])
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path / "mirror"))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    error: Any = error_of("run", "--dry-run", "--task", "xstest")
    assert error.code == ExitCode.DATA


def test_usage_errors_keep_typers_look(tmp_path: Path) -> None:
    for arguments, words in (
        (("run", "--modle", "x"), "--model"),
        (("run", "--limit", "x"), "--limit"),
        (("rnu",), "rnu"),
    ):
        done = copsd_bench(*arguments, cwd=tmp_path)
        assert done.returncode == ExitCode.USAGE
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_errors_are_one_sentence_on_stderr_of_the_process(tmp_path: Path) -> None:
    assert refused(tmp_path, "run", "--limit", "0")[0] == ExitCode.USAGE
    assert refused(tmp_path, "run", "--model", "smolm2-135m")[0] == ExitCode.MODEL
    (tmp_path / "file").write_text("")
    code, sentence = refused(tmp_path, "run", "--limit", "1", "--out", "file/below", "--display", "none")
    assert code == ExitCode.DISK
    assert "choose another --out" in sentence


def test_a_prompt_beyond_the_window_fails_alone(tmp_path: Path, smollm2: ResolvedModel) -> None:
    """Found only while running: the other samples are kept, and no traceback is shown in any display."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "' + "word " * 9000 + '"}\n{"prompt": "Hi"}\n')
    command = ("run", "--prompts", "p.jsonl", "--max-tokens", "2", "--display", "plain")
    code, sentence = refused(tmp_path, *command)
    assert code == ExitCode.RUN
    assert "leaves no room in the model's context window" in sentence
    assert "CopsdError(" not in sentence
    from inspect_ai.log import list_eval_logs, read_eval_log

    (info,) = list_eval_logs(str(tmp_path / "runs"))
    kept = [sample for sample in read_eval_log(info).samples or [] if sample.error is None]
    assert [sample.input for sample in kept] == ["Hi"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        # Only a file system of its own can be full without harm to others.
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_a_sentence_and_the_run_continues_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    command = (
        "run", "--task", "mini", "--limit", "12", "--max-tokens", "2", "--batch-size", "4", "--out", str(small_disk),
        "--display", "none",
    )  # fmt: skip
    code, sentence = refused(tmp_path, *command)
    assert code == ExitCode.DISK
    assert "full" in sentence
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    done = copsd_bench(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
