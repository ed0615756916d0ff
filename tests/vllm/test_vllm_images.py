"""Images on a real vLLM engine; the transformers engine says what is right.

A Llava, as the Qwen-VL processors that vLLM uses need torchvision, which its CPU build does not come with.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from copsd_bench.engine.context import Context
from copsd_bench.engine.protocol import Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.engine.vllm_engine import VllmEngine
from tests.models.tiny_vlm import ask_about, draw, save_tiny_vlm

GREEDY = Sampling(max_tokens=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With heads of 32, the smallest that vLLM's kernels take."""
    return save_tiny_vlm(tmp_path_factory.mktemp("llava"), "llava", hidden_size=128, head_dim=32)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    with VllmEngine(folder, None, "float32", max_model_len=512) as engine:
        yield engine


def prompts(engine: VllmEngine | TransformersEngine) -> list[Prompt]:
    rules = Context("rules", "Be careful. {user_query}")
    pictures = [engine.encode(ask_about(draw(i, size))) for i, size in enumerate([(48, 48), (90, 40), (48, 48)])]
    text = engine.encode([{"role": "user", "content": "No image."}])
    return [*pictures, engine.encode(ask_about(draw(1)), rules), text]


def test_answers_about_images_agree_with_transformers(engine: VllmEngine, folder: Path) -> None:
    reference = TransformersEngine(folder)
    ours, theirs = prompts(engine), prompts(reference)
    assert [(p.ids, p.images) for p in ours] == [(p.ids, p.images) for p in theirs]
    answers = engine.generate(View(), ours, GREEDY)
    for answer, expected in zip(answers, reference.generate(View(), theirs, GREEDY), strict=True):
        assert answer.ids == expected.ids
        assert answer.logprobs == pytest.approx(expected.logprobs, abs=1e-3)
    assert answers[0].logprobs != pytest.approx(answers[2].logprobs, abs=1e-2)  # the same question, another image
    assert "images" in engine.capabilities


def test_an_answer_never_holds_a_placeholder(engine: VllmEngine) -> None:
    drawn = Sampling(max_tokens=64, temperature=4.0)
    rows = engine.generate(View(), [prompts(engine)[0]] * 8, drawn, list(range(8)))
    ids = [token for row in rows for token in row.ids]
    assert len(set(ids)) > 100
    assert engine.encode_prompt.placeholder not in ids
