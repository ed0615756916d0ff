"""lmms-eval's scorers, which the paper's general benchmarks come from, give our profile `copsd` on any answer.

lmms-eval needs torchvision, OpenCV, wandb and more at import, so it is no part of the test extra. Without them
(`pip install --no-deps lmms-eval==0.7.3`) its scoring files still run, with stand-ins for what they load beside.
"""

import importlib.metadata
import importlib.util
import itertools
import random
import re
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from copsd_bench.benchmarks.task import MetricSpec
from copsd_bench.benchmarks.vision.metrics import letter, mathvista, text_match, vqa
from copsd_bench.judges.vision_grades import pair
from copsd_bench.records.build import metric_estimate
from copsd_bench.records.schema import SampleRow

WORDS = [
    *("cat", "Cats", "the cat", "a cat", "cat.", "cat's", "two", "2", "none", "ten (10)", "1,000", "3.5", "10:30"),
    *("black/white", "black, white", "black , white", "x-ray", "u.s.a.", "yes", "yes!", "no", "", "B", "B. x", "b"),
    *("dont", "don't", "somebody'd", "it's", "he'dve"),
]


class Anything(ModuleType):
    """A module, or anything in it, of which nothing is used."""

    __path__ = ()  # a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name)

    def __call__(self, *args: Any, **kwargs: Any) -> "Anything":
        return self


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """The package's folder, its own heavy packages replaced while its files are loaded."""
    try:
        found = importlib.metadata.distribution("lmms-eval").locate_file("lmms_eval")
    except importlib.metadata.PackageNotFoundError:
        # In no extra, as it wants torchvision, OpenCV and more; `make test` installs its files alone.
        pytest.skip("lmms-eval is not installed: pip install --no-deps lmms-eval==0.7.3")
    beside = ("llm_judge", "tasks", "tasks._task_utils", "tasks._task_utils.file_utils")
    stubs: dict[str, ModuleType] = {name: Anything(name) for name in ("loguru", "lmms_eval", "Levenshtein")}
    stubs |= {f"lmms_eval.{name}": Anything(name) for name in beside}
    stubs["Levenshtein"].distance = mathvista.edit_distance  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        metric = _load(Path(str(found)) / "tasks/_task_utils/vqa_eval_metric.py")
        patch.setitem(sys.modules, "lmms_eval.tasks._task_utils.vqa_eval_metric", metric)
        yield Path(str(found))


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"peer_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vqa_accuracy(files: Path) -> None:
    peer = _load(files / "tasks/vqav2/utils.py")
    drawn = random.Random(0)
    for answer in WORDS * 8:
        given = [drawn.choice([answer, *WORDS]) for _ in range(10)]
        answers = [{"answer": text, "answer_confidence": "yes", "answer_id": i} for i, text in enumerate(given, 1)]
        theirs = peer.vqav2_process_results({"answers": answers, "question_id": 1}, [answer])["exact_match"]
        assert vqa.accuracy(answer, given, official=False) == pytest.approx(theirs), (answer, given)


def test_normal_forms(files: Path) -> None:
    processor = _load(files / "tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor()
    for a, b in itertools.product(WORDS, WORDS):
        text = f"{a} {b}"
        plain = text.replace("\n", " ").replace("\t", " ").strip()
        assert vqa.normalise(text) == processor.process_digit_article(processor.process_punctuation(plain)), text


def test_scienceqa_letters(files: Path) -> None:
    peer = _load(files / "tasks/scienceqa/utils.py")
    shapes = ("{}", "{}.", "{}. the disc", "{}) the disc", " {} ", "The answer is {}.", "{}\nbecause", "({})")
    for shape, said, gold in itertools.product(shapes, "ABCabc", range(3)):
        doc = {"choices": ["x", "y", "z"], "answer": gold}
        theirs = peer.sqa_process_results(doc, [shape.format(said)])["exact_match"]
        assert letter.strict(shape.format(said), "ABC"[gold]) == bool(theirs), (shape, said, gold)


def test_gqa_matches(files: Path) -> None:
    source = (files / "api/metrics.py").read_text()
    body = source[source.index("def exact_match_hf_evaluate(") :]
    space: dict[str, Any] = {"np": np, "re": re, "string": string}
    exec(body[: body.index("\n\n\n")], space)
    for said, gold in itertools.product(WORDS, WORDS):
        theirs = space["exact_match_hf_evaluate"]([said], [gold], ignore_case=True, ignore_punctuation=True)
        assert text_match.equal_but_for_case(said, gold) == bool(theirs["exact_match"]), (said, gold)


def test_mathvista_answers(files: Path) -> None:
    peer = _load(files / "tasks/mathvista/mathvista_evals.py").MathVistaEvaluator()
    said = [
        "A",
        "(b)",
        "(B) 8/11",
        "8/11",
        "8 / 11",
        "D",
        "",
        "14",
        "14.0",
        "14.6",
        "1e3",
        "inf",
        "1.249",
        "[1, 2]",
        "n/a",
    ]
    kinds: list[tuple[str, str, list[str] | None, int | None, str]] = [
        ("multi_choice", "text", ["3/11", "8/11", "none"], None, "8/11"),
        ("free_form", "integer", None, None, "14"),
        ("free_form", "float", None, 2, "1.25"),
        ("free_form", "list", None, None, "[1, 2]"),
    ]
    for text, (question, answer, choices, precision, gold) in itertools.product(said, kinds):
        theirs = peer.normalize_extracted_answer(text, choices, question, answer, precision)
        keys = ("question_type", "answer_type", "choices", "precision", "answer")
        problem = dict(zip(keys, (question, answer, choices, precision, gold), strict=True))
        assert mathvista.normalise(text, problem) == theirs, (text, problem)
        assert mathvista.correct(text, problem) == peer.safe_equal(theirs, gold)


def test_llava_wilder_ratings(files: Path) -> None:
    peer = _load(files / "tasks/llava_wilder/utils.py")
    for reply in ("10 7", "10, 7\nGood.", "10 7.5\n", "10", "Ten 7", "10 7 1", "", "The first is better.\n10 7"):
        theirs = peer.parse_score(reply)
        ours = pair(reply)
        assert (list(ours) if ours is not None else [-1, -1]) == theirs, reply


def test_mmvet_scores(files: Path) -> None:
    """Over all and by capability, on random grades."""
    pandas = pytest.importorskip("pandas")
    source = (files / "tasks/mmvet/utils.py").read_text()
    said: list[str] = []
    logger = Anything("logger")
    logger.info = said.append  # type: ignore[attr-defined]
    space: dict[str, Any] = {"pd": pandas, "eval_logger": logger}
    exec(source[source.index("cap_columns") : source.index("def doc_to_text")], space)
    drawn = random.Random(1)
    results = [
        {"score": drawn.randrange(11) / 10, "capabilities": drawn.choice(["rec", "ocr,math", "rec,gen,know"])}
        for _ in range(40)
    ]
    overall = space["mmvet_aggregate_results"](results)
    rows = []
    for i, result in enumerate(results):
        tags = dict.fromkeys(str(result["capabilities"]).split(","), "yes")
        rows.append(SampleRow(id=str(i), group="general", scores={"score": float(str(result["score"]))}, tags=tags))
    assert metric_estimate(MetricSpec(name="score", score="score"), rows).value == pytest.approx(overall / 100)
    for name in ("rec", "ocr", "math", "know"):
        ours = metric_estimate(MetricSpec(name=name, score="score", tags={name: "yes"}), rows).value or 0
        assert f"Score for {name}: {100 * ours:.2f}" in said
