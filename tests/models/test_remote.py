"""A server that speaks the OpenAI protocol, run over real HTTP: the same numbers as the model loaded here."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.engine.spec import EngineSpec, load_worker
from copsd_bench.engine.worker import Worker
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.remote import server_host
from tests.models.openai_server import serve

NAME = "served/smollm2"


@pytest.fixture(scope="module")
def worker() -> Worker:
    loaded = load_worker(EngineSpec(model="smollm2-135m", dtype="float32", device="cpu", batch_size=4))
    assert isinstance(loaded, Worker)
    return loaded


@pytest.fixture(scope="module")
def server(worker: Worker) -> Iterator[str]:
    with serve(worker, NAME) as base_url:
        yield base_url


def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """`copsd-bench run` with no proxy between it and this machine."""
    command = [sys.executable, "-m", "copsd_bench.cli", "run", "--display", "none", *arguments]
    inherited = {name: value for name, value in os.environ.items() if name != "COPSD_SERVER_API_KEY"}
    return subprocess.run(
        command, env=inherited | {"NO_PROXY": "*"} | env, capture_output=True, text=True, timeout=180, check=False
    )


def record(out: Path) -> dict[str, Any]:
    (file,) = out.glob("*.json")
    return dict(json.loads(file.read_text()))


def test_a_served_model_gives_the_answers_of_the_same_model_loaded_here(server: str, tmp_path: Path) -> None:
    few = ["--suite", "mini", "--limit", "4", "--max-tokens", "8"]
    remote = run("--model", NAME, "--base-url", server, "--out", str(tmp_path / "remote"), *few)
    assert remote.returncode == 0, remote.stderr
    local = ["--dtype", "float32", "--device", "cpu", "--batch-size", "4", "--out", str(tmp_path / "local")]
    done = run(*local, *few)
    assert done.returncode == 0, done.stderr

    theirs, ours = record(tmp_path / "remote"), record(tmp_path / "local")
    rows, expected = theirs["tasks"][0]["samples"], ours["tasks"][0]["samples"]
    assert len(rows) == 4
    for row, local_row in zip(rows, expected, strict=True):
        for name in ("mean_entropy", "mean_logprob"):
            assert isinstance(local_row.pop(name), float)
            assert row.get(name) is None, "what a server does not tell is unknown, never a number"
    assert rows == expected  # ids, answer digests, token counts, truncation, refusals, diversity
    assert all(row["output_tokens"] and row["input_tokens"] for row in rows)
    assert "mean_entropy" not in theirs["tasks"][0]["panel"]
    host = server.removeprefix("http://").removesuffix("/v1")
    assert theirs["model"]["engine"] == "server"
    assert theirs["model"]["weights_digest"] == f"server:{host}/{NAME}"
    assert server not in json.dumps(theirs), "of the address only the host is recorded"


def test_a_server_that_wants_a_key_gets_the_one_in_the_environment(worker: Worker, tmp_path: Path) -> None:
    with serve(worker, NAME, key="secret") as base_url:
        arguments = ["--model", NAME, "--base-url", base_url, "--out", str(tmp_path), "--limit", "1"]
        refused = run(*arguments, "--dry-run")
        assert refused.returncode == ExitCode.MODEL
        assert "COPSD_SERVER_API_KEY" in refused.stderr
        done = run(*arguments, "--max-tokens", "2", "--max-connections", "1", COPSD_SERVER_API_KEY="secret")
    assert done.returncode == 0, done.stderr
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"secret" in text for text in texts), "the key is nowhere in records or logs"


def test_a_server_goes_on_with_the_answer_an_attack_began(server: str, tmp_path: Path) -> None:
    few = ["--suite", "mini", "--limit", "4", "--max-tokens", "8", "--attack", "prefill"]
    remote = run("--model", NAME, "--base-url", server, "--out", str(tmp_path / "remote"), *few)
    assert remote.returncode == 0, remote.stderr
    local = run("--dtype", "float32", "--device", "cpu", "--batch-size", "4", "--out", str(tmp_path / "local"), *few)
    assert local.returncode == 0, local.stderr
    answers = [
        [row["answer_digest"] for row in record(tmp_path / where)["tasks"][0]["samples"]]
        for where in ("remote", "local")
    ]
    assert answers[0] == answers[1]


def test_answers_of_an_earlier_run_are_kept_with_a_word_and_not_across_weights(worker: Worker, tmp_path: Path) -> None:
    roots, said = ["ckpt-1"], []
    with serve(worker, NAME, root=roots) as base_url:
        arguments = [
            "--model",
            NAME,
            "--base-url",
            base_url,
            "--out",
            str(tmp_path),
            "--limit",
            "2",
            "--max-tokens",
            "2",
        ]
        for _ in range(2):
            done = run(*arguments)
            assert done.returncode == 0, done.stderr
            said.append("are kept: a model elsewhere is known by its name" in done.stdout)
        roots.append("ckpt-2")
        assert run(*arguments).returncode == 0
    assert said == [False, True]
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", NAME, "--base-url", "http://127.0.0.1:9/v1"], "127.0.0.1:9 does not answer"),
        (["--model", NAME, "--base-url", "http://no-such-host.invalid/v1"], "does not answer"),
        (["--model", "served/smollm", "--base-url", "{server}"], f"did you mean '{NAME}'?"),
        (["--model", NAME, "--base-url", "{server}/v2"], "no list of models"),
    ],
    ids=["nothing listens", "no such host", "unknown model", "wrong path"],
)
def test_a_server_that_cannot_be_used_is_one_sentence_within_seconds(
    server: str, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    start = time.monotonic()
    done = run(*(a.replace("{server}", server) for a in arguments), "--out", str(tmp_path / "runs"))
    assert time.monotonic() - start < 30  # imports on a busy machine included
    assert done.returncode == ExitCode.MODEL, done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists(), "nothing ran"


def test_options_of_local_models_are_refused_by_name(server: str) -> None:
    done = run("--model", NAME, "--base-url", server, "--dtype", "float32", "--dry-run")
    assert (done.returncode, "--dtype needs a local model" in done.stderr) == (ExitCode.USAGE, True)
    done = run("--max-connections", "8", "--dry-run")
    assert (done.returncode, "--batch-size" in done.stderr) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", ""])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(CopsdError, match="write it like http"):
        server_host(url)


def test_a_record_knows_the_host_only_and_secrets_do_not_belong_in_the_address() -> None:
    assert server_host("https://gateway.example/token-abc/v1") == "gateway.example"
    assert server_host("http://[::1]:8000/v1") == "[::1]:8000"
    for url in ("http://user:pass@host/v1", "http://host/v1?key=abc"):
        with pytest.raises(CopsdError, match="COPSD_SERVER_API_KEY") as refused:
            server_host(url)
        assert "pass" not in str(refused.value)
        assert "abc" not in str(refused.value)
