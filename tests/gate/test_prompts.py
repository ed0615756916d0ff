"""What the damaging adapters are trained on is no evaluation item."""

from pathlib import Path

from copsd_bench.benchmarks.collapse.prompts import load_collapse_prompts
from copsd_bench.benchmarks.mini_items import load_mini_items
from tests.gate.finetune import HARMLESS, RISKY
from tests.overlap import benchmark_texts, words


def test_training_prompts_are_no_evaluation_items(data_dir: Path) -> None:
    ours = [item.prompt for item in (*load_mini_items(), *load_collapse_prompts())]
    evaluated = {" ".join(words(text)) for text in [*benchmark_texts(data_dir), *ours]}
    trained = {" ".join(words(prompt)) for prompt in [*RISKY, *(prompt for prompt, _ in HARMLESS)]}
    assert not trained & evaluated
