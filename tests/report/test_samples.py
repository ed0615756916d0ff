"""Answers side by side, from the logs of a real run: harmful ones only when asked for, the largest movement first."""

from pathlib import Path

import pytest
from inspect_ai.log import EvalSample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText

from copsd_bench.engine.images import read_image
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.records.schema import RunRecord
from copsd_bench.records.store import read_record
from copsd_bench.report.samples import THUMBNAIL, Moved, samples, thumbnail
from copsd_bench.report.sides import sides_of
from tests.cli import copsd_bench
from tests.models.tiny_vlm import data_uri, draw

Run = tuple[RunRecord, Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, smollm2: ResolvedModel) -> Run:
    """Six prompts, two rollouts of the small model with the constitution and two without; record and log folder."""
    folder = tmp_path_factory.mktemp("run")
    options = "--task length_collapse --reference base --constitution default --rollouts 2 --limit 6 --max-tokens 12"
    done = copsd_bench("run", "--model", "smollm2-135m", *options.split(), "--display", "none", cwd=folder)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("runs/*.json")
    record = read_record(path)
    return record, folder / "runs" / "logs" / record.run_id[:16]


def moved(run: Run, harmful: bool = False) -> list[Moved]:
    record, logs = run
    sides = sides_of([record])
    return samples(sides, {sides[-1].index: logs}, harmful).moved


def test_answers_are_those_of_the_log(run: Run) -> None:
    from inspect_ai.log import list_eval_logs, read_eval_log

    (log,) = (read_eval_log(info) for info in list_eval_logs(str(run[1])))
    said = {sample.input: sample.store["rollouts"] for sample in log.samples or []}
    found = moved(run, harmful=True)
    assert len(found) == 6
    for prompt in found:
        reference, model = prompt.answers
        assert reference.text in {answer["text"].strip() or "(empty)" for answer in said[prompt.prompt]["reference"]}
        assert model.text in {answer["text"].strip() or "(empty)" for answer in said[prompt.prompt]["model"]}


def test_harmful_prompts_are_hidden_unless_asked_for(run: Run) -> None:
    assert {prompt.group for prompt in moved(run)} == {"benign", "general"}
    assert {prompt.group for prompt in moved(run, harmful=True)} == {"harmful", "benign", "general"}


def test_without_logs_the_page_says_where_the_texts_are(run: Run) -> None:
    sides = sides_of([run[0]])
    found = samples(sides, {}, False)
    assert found.moved == []
    assert "--logs" in found.missing


def test_a_question_about_an_image_shows_it_small() -> None:
    image = data_uri(draw(3, (900, 600)))
    asked = ChatMessageUser(content=[ContentImage(image="attachment://a"), ContentText(text="What is this?")])
    sample = EvalSample(id="a", epoch=1, input="q", target="", messages=[asked], attachments={"a": image})
    assert read_image(thumbnail(sample)).pixels.size == (THUMBNAIL, THUMBNAIL * 2 // 3)
    assert thumbnail(sample.model_copy(update={"attachments": {}})) == ""
    assert thumbnail(sample.model_copy(update={"messages": [ChatMessageUser(content="text")]})) == ""
