"""The real images at hand (100 each of VQAv2 and ScienceQA, as MobileAIBench holds them) in the hub's schemas."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.pictures import science_row, vqa_row, write_table

COUNT = 100


def write_real_sets(data: Path, folder: Path) -> Path:
    """Tables below a mirror folder, and the file for COPSD_SOURCES.

    Args:
        data: folder with `vision/VQAv2` and `vision/ScienceQA`.
        folder: for COPSD_DATA_DIR.
    """
    vision = folder / "vision"
    vqa = [
        vqa_row(int(number), question.rpartition("\n")[0], answers, content)
        for number, question, answers, content in _items(data / "vision" / "VQAv2", "answer")
    ]
    write_table(vision / "VQAv2" / "validation-00000-of-00001.parquet", vqa, 32)
    science = []
    for number, prompt, letter, content in _items(data / "vision" / "ScienceQA", "answer"):
        hint, question, options = _parts(prompt)
        science.append(science_row(int(number), question, options, "ABCDE".index(letter), hint, content))
    write_table(vision / "ScienceQA" / "ScienceQA-IMG" / "test-00000-of-00001.parquet", science, 32)
    sources = folder / "sources.yaml"
    sources.write_text(yaml.safe_dump({name: {"files": {"test": {"count": COUNT}}} for name in ("vqav2", "scienceqa")}))
    return sources


def _items(folder: Path, field: str) -> list[tuple[str, str, Any, bytes]]:
    prompts, answers = (json.loads((folder / f"{name}.json").read_text()) for name in ("prompts", "answers"))
    images = {path.stem: path for path in (folder / "images").iterdir()}
    items = []
    for key, asked in prompts.items():
        image = images[key if key in images else asked["image_id"]]
        items.append((key, asked["prompt"], answers[key][field], image.read_bytes()))
    return items


def _parts(prompt: str) -> tuple[str, str, list[str]]:
    """Context, question and choices of a ScienceQA prompt."""
    found = re.fullmatch(r"(?:Context: (.*?)\n)?Question: (.*)\nOptions: (.*) \n.*", prompt, re.DOTALL)
    assert found is not None, prompt
    choices = [choice.strip() for choice in re.split(r"\([A-E]\): ", found[3])[1:]]
    return found[1] or "", found[2], choices
