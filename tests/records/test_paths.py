"""A record may be published: it must not say whose machine it was made on."""

import pytest

from copsd_bench.records.paths import published


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("/home/someone/models/my-model", "my-model"),
        ("~/models/my-model", "my-model"),
        ("--out=/srv/runs", "--out=runs"),
        ("--out=~/runs", "--out=runs"),
        ("download_dir=/scratch/someone", "download_dir=someone"),
        ("hf_token=hf_abcdef", "hf_token=..."),
        ("--api-key=abc", "--api-key=..."),
        ("copsd//srv/models/judge", "copsd/judge"),
        ("constitution:/srv/rules/mine.yaml@system", "constitution:mine.yaml@system"),
        ("constitution:default", "constitution:default"),
        ("hf/~/judge", "hf/judge"),
        ("harmbench:copsd//srv/a,xstest:hf//srv/b", "harmbench:copsd/a,xstest:hf/b"),
        ("--judge=copsd//srv/models/judge", "--judge=copsd/judge"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("openai/gpt-x", "openai/gpt-x"),
        ("./my-model", "./my-model"),
        ("runs/base", "runs/base"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("--max-tokens=64", "--max-tokens=64"),
        ("--max-tokens", "--max-tokens"),
        ("tensor_parallel_size=2", "tensor_parallel_size=2"),
    ],
)
def test_folders_of_the_machine_and_secrets_are_left_out_and_the_rest_stays(typed: str, kept: str) -> None:
    assert published(typed) == kept
