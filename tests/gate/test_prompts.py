"""What the damaging adapters are trained on is no evaluation item."""

from pathlib import Path

from copsd_train.corpora.overlap import benchmark_texts, find_overlaps
from tests.gate.finetune import HARMLESS, RISKY


def test_training_prompts_are_no_evaluation_items(data_dir: Path) -> None:
    trained = [*RISKY, *(prompt for prompt, _ in HARMLESS)]
    assert not [overlap for overlap in find_overlaps(trained, benchmark_texts()) if overlap.how == "is the same as"]
