"""What the damaging adapters are trained on is no evaluation item."""

from pathlib import Path

from copsd_bench.benchmarks.mini_items import load_mini_items
from tests.benchmarks.test_mini_items import _texts, _words
from tests.gate.finetune import HARMLESS, RISKY


def test_training_prompts_are_no_evaluation_items(data_dir: Path) -> None:
    evaluated = {" ".join(_words(text)) for text in [*_texts(data_dir), *(item.prompt for item in load_mini_items())]}
    trained = {" ".join(_words(prompt)) for prompt in [*RISKY, *(prompt for prompt, _ in HARMLESS)]}
    assert not trained & evaluated
