"""Images through Inspect: the same pixels reach the engine, and what cannot be shown is an error."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, Model, get_model

import copsd_bench._registry  # noqa: F401
from copsd_bench.engine.images import PixelLimits
from copsd_bench.engine.protocol import Sampling, View
from copsd_bench.errors import CopsdError
from tests.models.tiny_vlm import ask_about, data_uri, draw, save_tiny_vlm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return get_model(f"copsd/{save_tiny_vlm(tmp_path_factory.mktemp('vlm'))}", dtype="float32", memoize=False)


def turn(image: str, question: str = "What is this?") -> ChatMessageUser:
    return ChatMessageUser(content=[ContentImage(image=image), ContentText(text=question)])


def ask(model: Model, image: str, **config: Any) -> Any:
    config = {"max_tokens": 6, "temperature": 0.0, **config}
    return asyncio.run(model.api.generate([turn(image)], [], "none", GenerateConfig(**config)))


def test_samples_with_images_give_the_engines_own_answers(model: Model, tmp_path: Path) -> None:
    engine = model.api.worker.engine  # type: ignore[attr-defined]
    images = [draw(seed, size) for seed, size in enumerate([(48, 48), (90, 30), (48, 48)])]
    samples = []
    for i, image in enumerate(images):
        image.save(tmp_path / f"{i}.png")
        shown = data_uri(image) if i == 2 else str(tmp_path / f"{i}.png")
        samples.append(Sample(id=i, input=[turn(shown)]))
    config = GenerateConfig(max_tokens=6, temperature=0.0)
    task = Task(dataset=MemoryDataset(samples), config=config)
    (log,) = eval(task, model, log_dir=str(tmp_path / "logs"), display="none")
    assert log.status == "success", log.error
    prompts = [engine.encode(ask_about(image)) for image in images]
    expected = engine.generate(View(), prompts, Sampling(max_tokens=6))
    for sample, prompt, answer in zip(log.samples or [], prompts, expected, strict=True):
        assert sample.output.completion == answer.text
        assert sample.output.usage is not None
        assert sample.output.usage.input_tokens == len(prompt.ids)
        assert sample.output.metadata is not None
        file = engine.encode(ask_about(tmp_path / f"{sample.id}.png"))
        assert sample.output.metadata["image_sha256"] == list(file.images)


def test_pixel_limits_come_with_the_request(model: Model) -> None:
    engine = model.api.worker.engine  # type: ignore[attr-defined]
    image = draw(1, (200, 120))
    small = engine.encode(ask_about(image), None, PixelLimits(256, 4096))
    limited = ask(model, data_uri(image), extra_body={"pixels": [256, 4096]})
    assert limited.usage.input_tokens == len(small.ids) < ask(model, data_uri(image)).usage.input_tokens
    with pytest.raises(CopsdError, match=r"Pixel limits are a pair of whole numbers \[least, most\], not 4096"):
        ask(model, data_uri(image), extra_body={"pixels": 4096})


def test_the_same_question_about_another_image_has_a_stream_of_its_own(model: Model) -> None:
    drawn = {"temperature": 1.0, "seed": 3, "num_choices": 4}
    first, again, other = (
        [choice.message.text for choice in ask(model, data_uri(draw(seed)), **drawn).choices] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_what_cannot_be_shown_is_a_sentence(model: Model, tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(CopsdError, match="is a web address; download it"):
        ask(model, "https://example.org/a.png")
    with pytest.raises(CopsdError, match="cannot be read: No such file"):
        ask(model, str(tmp_path / "missing.png"))
    text_only = get_model(f"copsd/{tiny_llama}", dtype="float32", memoize=False)
    with pytest.raises(CopsdError, match="takes text only; use a vision-language model"):
        ask(text_only, data_uri(draw(1)))
