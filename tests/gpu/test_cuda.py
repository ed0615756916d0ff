"""On an accelerator the numbers are those of the CPU, and memory does not grow with tokens x vocabulary.

python -m pytest tests/gpu
"""

from pathlib import Path

import pytest
import torch

from copsd_bench.engine.protocol import Completion, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.load_recipe import load_recipe
from copsd_train.losses import chunked_divergence
from copsd_train.ranks import Ranks
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.stages import execute
from tests.engine.tiny import save_tiny
from tests.train.conftest import SMALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator"),
]
PROMPTS = [Prompt(ids=tuple((i * 37 + j) % 250 for j in range(3 + 5 * i))) for i in range(6)]


def answers(path: Path, device: str, sampling: Sampling) -> tuple[TransformersEngine, list[Completion]]:
    engine = TransformersEngine(path, dtype="float32", device=device, batch_size=4)
    return engine, engine.generate(View(), PROMPTS, sampling, seeds=range(6))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_answers_and_scores_are_those_of_the_cpu(tmp_path: Path, temperature: float) -> None:
    sampling = Sampling(max_tokens=12, temperature=temperature)
    _, expected = answers(save_tiny(tmp_path), "cpu", sampling)
    engine, found = answers(tmp_path, "cuda", sampling)
    assert [c.ids for c in found] == [c.ids for c in expected]
    scores = engine.score(View(), PROMPTS, [c.ids for c in found])
    for score, completion in zip(scores, expected, strict=True):
        torch.testing.assert_close(
            torch.tensor(score.logprobs), torch.tensor(completion.logprobs), atol=1e-4, rtol=1e-4
        )


def test_a_run_has_the_numbers_of_a_run_on_the_cpu(tiny: ResolvedModel, prompts_file: Path, tmp_path: Path) -> None:
    rows = {}
    for device in ("cpu", "cuda"):
        changes = [*SMALL, f"prompts=[{prompts_file}]", "distill.steps=1", f"device={device}"]
        with Run.start(tmp_path / device, load_recipe("opsd-const", changes), tiny, []) as run:
            execute(run, Ranks())
        [rows[device]] = read_lines(tmp_path / device / "metrics.jsonl")
    for name in ("kl_teacher", "entropy", "grad_norm", "tokens_mean"):
        assert rows["cuda"][name] == pytest.approx(rows["cpu"][name], rel=1e-3), name


def test_memory_of_a_divergence_does_not_grow_with_tokens_times_vocabulary() -> None:
    """Eight times the tokens over 100,000 logits each: the states grow, the logits do not."""
    width, vocabulary = 64, 100_000
    torch.manual_seed(0)
    weight = torch.randn(vocabulary, width, device="cuda")

    def peak(tokens: int) -> int:
        student = torch.randn(tokens, width, device="cuda", requires_grad=True)
        teacher = torch.randn(tokens, width, device="cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        chunked_divergence(student, lambda s: s @ weight.T, teacher, lambda s: s @ weight.T, 1.0).sum().backward()
        return torch.cuda.max_memory_allocated() - before

    peak(512)
    assert peak(8192) < 1.5 * peak(1024)
