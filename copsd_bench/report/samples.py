"""Answers side by side, read from Inspect's logs beside the records: records themselves hold no texts."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from copsd_bench.records.schema import Group, SampleRow
from copsd_bench.report.sides import Side
from copsd_bench.report.tasks import answer_tasks

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

SHOWN = 8
LONGEST = 1200
THUMBNAIL = 240
Key = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """One side's answer, and what the panel says of it (`42 tokens, refused`)."""

    side: Side
    text: str
    said: str


@dataclass(frozen=True)
class Moved:
    """A prompt with the answers of every side to it; `image` is a small copy of what it is about, as a data URI."""

    prompt: str
    group: Group
    answers: list[Answer]
    image: str = ""


@dataclass
class Samples:
    """What the page shows of the answers; `missing` says what keeps it from showing (more of) them."""

    lead: str
    moved: list[Moved] = field(default_factory=list)
    missing: str = ""


def samples(sides: Sequence[Side], logs: dict[int, Path], harmful: bool) -> Samples:
    """The answers that moved most between a base and a run, where their logs are at hand.

    Args:
        logs: folder of Inspect logs by index of the side.
        harmful: also show answers to harmful requests.
    """
    lead = (
        "A refusal that came or went stands first, then the largest change of length. Answers are cut at "
        f"{LONGEST} characters."
    )
    found = Samples(lead)
    if not harmful:
        found.lead += " Answers to harmful requests are not shown; --show-harmful shows them."
    texts = {index: _Texts(folder) for index, folder in logs.items()}
    for side in sides:
        for task in answer_tasks(sides, "length_collapse"):
            base = side.bases.get(task)
            if base is not None and side.index in texts:
                found.moved += _moved(side, base, task, texts, harmful)
    if not found.moved:
        found.missing = (
            "The records hold no texts, and the logs with the answers are not beside them (logs/ in the folder of the "
            "run). Give the record in the folder where it was written, or name its log folder with --logs."
        )
    return found


class _Texts:
    """Prompts and answers of a log folder, each task's log read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: dict[str, dict[Key, EvalSample]] = {}

    def sample(self, task: str, row: SampleRow) -> "EvalSample | None":
        if task not in self.read:
            self.read[task] = _log_samples(self.folder, task)
        return self.read[task].get((row.id, row.epoch)) or self.read[task].get((row.id, 1))


def _log_samples(folder: Path, task: str) -> dict[Key, "EvalSample"]:
    from inspect_ai.log import list_eval_logs, read_eval_log

    for info in list_eval_logs(str(folder)):
        header = read_eval_log(info, header_only=True)
        if header.eval.task.rpartition("/")[2] == task and header.status == "success":
            return {(str(sample.id), sample.epoch): sample for sample in read_eval_log(info).samples or []}
    return {}


def _moved(side: Side, base: Side, task: str, texts: dict[int, _Texts], harmful: bool) -> list[Moved]:
    before = {(row.id, row.epoch): row for row in base.answers[task]}
    pairs = [
        (before[key], row)
        for row in side.answers[task]
        if (key := (row.id, row.epoch)) in before and (harmful or row.group != "harmful")
    ]
    first: dict[str, tuple[SampleRow, SampleRow]] = {}
    for pair in sorted(pairs, key=lambda pair: _movement(*pair), reverse=True):
        first.setdefault(pair[1].id, pair)
    found = []
    for was, row in list(first.values())[:SHOWN]:
        if (read := _answers(texts, side, base, task, was, row)) is not None:
            sample, *both = read
            answers = [
                Answer(who, _shortened(text), _said(its))
                for who, its, text in zip((base, side), (was, row), both, strict=True)
            ]
            found.append(Moved(_prompt(sample), row.group, answers, thumbnail(sample)))
    return found


def _movement(was: SampleRow, row: SampleRow) -> tuple[bool, float]:
    flipped = _refused(was) != _refused(row)
    if not was.output_tokens or not row.output_tokens:
        return flipped, 0.0
    return flipped, abs(log(row.output_tokens / was.output_tokens))


def _refused(row: SampleRow) -> bool:
    return row.refusal in ("full_refusal", "partial_refusal")


def _said(row: SampleRow) -> str:
    words = [] if row.output_tokens is None else [f"{row.output_tokens} tokens"]
    words += ["cut"] if row.truncated else []
    words += ["" if row.refusal is None else row.refusal.replace("_", " ")]
    return ", ".join(word for word in words if word)


def _answers(
    texts: dict[int, _Texts], side: Side, base: Side, task: str, was: SampleRow, row: SampleRow
) -> tuple["EvalSample", str, str] | None:
    """The sample with the base's answer and the run's; None where a log does not have them.

    A task against a reference keeps the rollouts of both in the run's own log.
    """
    sample = texts[side.index].sample(task, row)
    if sample is None:
        return None
    from copsd_bench.benchmarks.collapse.rollouts import KEY, RolloutPair

    if rollouts := sample.store.get(KEY):
        pair = RolloutPair.model_validate(rollouts)
        return sample, pair.reference[was.epoch - 1].text, pair.model[row.epoch - 1].text
    before = texts[base.index].sample(task, was) if base.index in texts else None
    return None if before is None else (sample, before.output.completion, sample.output.completion)


def _prompt(sample: "EvalSample") -> str:
    text = sample.input if isinstance(sample.input, str) else sample.input[-1].text
    return text if len(text) <= 400 else f"{text[:400]} …"


def thumbnail(sample: "EvalSample") -> str:
    """The first image of a logged sample, at most `THUMBNAIL` pixels wide and high; empty if its log holds none."""
    from inspect_ai.model import ContentImage

    parts = [part for message in sample.messages if isinstance(message.content, list) for part in message.content]
    image = next((part.image for part in parts if isinstance(part, ContentImage)), "")
    image = sample.attachments.get(image.removeprefix("attachment://"), image)
    if not image.startswith("data:image/"):
        return ""
    from copsd_bench.engine.images import read_image

    pixels = read_image(image).pixels
    pixels.thumbnail((THUMBNAIL, THUMBNAIL))
    out = BytesIO()
    pixels.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"


def _shortened(text: str) -> str:
    text = text.strip()
    return (text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} …") or "(empty)"
