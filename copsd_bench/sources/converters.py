"""Where a benchmark's sources have different schemas: one schema for all of them, the one its Inspect task expects."""

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]


def xstest(record: Record) -> Record:
    """The authors' csv has an `id` and empty notes, the hub's copy has neither an `id` nor the csv's column order."""
    return {key: record[key] or "" for key in ("prompt", "type", "label", "focus", "note")}


def ifeval(record: Record) -> Record:
    """A table has a column for every argument of every instruction: arguments an instruction does not take are None."""
    kwargs = [{key: value for key, value in given.items() if value is not None} for given in record["kwargs"]]
    return {**record, "kwargs": kwargs}


def mmlu(record: Record) -> Record:
    """The csv files have a column for each choice."""
    choices = record["choices"] if "choices" in record else [record[f"choice{i}"] for i in range(4)]
    return {"question": record["question"], "choices": list(choices), "answer": int(record["answer"])}


def jailbreakbench(record: Record) -> Record:
    """Headings are capitalised in some copies and not in others, and a twin's name may hold two spaces for one."""
    named = {key.lower(): " ".join(value.split()) for key, value in record.items()}
    return {key: named[key] for key in ("goal", "target", "behavior", "category", "source")}


def arc(record: Record) -> Record:
    """The hub keeps texts and labels of the choices in two lists."""
    if "options" not in record:
        return {key: record[key] for key in ("id", "question", "choices", "answerKey")}
    choices = {key: [option[key] for option in record["options"]] for key in ("text", "label")}
    return {"id": record["id"], "question": record["question"], "choices": choices, "answerKey": record["answer"]}


def truthfulqa(record: Record) -> Record:
    """The authors' csv as the multiple-choice records the hub has: the best answer first, true ones before false."""
    if "mc1_targets" in record:
        return {key: record[key] for key in ("question", "mc1_targets", "mc2_targets")}
    best = record["Best Answer"].strip()
    right, wrong = (_answers(record[f"{kind} Answers"]) for kind in ("Correct", "Incorrect"))
    return {
        "question": record["Question"],
        "mc1_targets": _choices([best], wrong),
        "mc2_targets": _choices(list(dict.fromkeys([best, *right])), wrong),
    }


def _answers(joined: str) -> list[str]:
    return [part.strip() for part in joined.split(";") if part.strip()]


def _choices(right: list[str], wrong: list[str]) -> Record:
    return {"choices": [*right, *wrong], "labels": [1] * len(right) + [0] * len(wrong)}


def math(record: Record) -> Record:
    """Copies differ in what they keep beside the problem."""
    return {key: record[key] for key in ("problem", "solution", "answer")}


def vlsbench(record: Record) -> Record:
    """Image names below the archive's folder; the safety reasons came in a later release."""
    return {
        **{key: record[key] for key in ("instruction_id", "instruction", "category", "sub_category", "source")},
        "image": record["image_path"].removeprefix("imgs/"),
    }


def mathvista(record: Record) -> Record:
    """A table's image is in another column than the file's name; its `precision` is a float, and may be missing."""
    precision = record["precision"]
    return {
        **{
            key: record[key] for key in ("pid", "question", "choices", "unit", "answer", "question_type", "answer_type")
        },
        "precision": None if precision is None else int(precision),
        "metadata": {key: value for key, value in record["metadata"].items() if not key.startswith("img_")},
        "image": record["decoded_image"] if "decoded_image" in record else record["image"].removeprefix("images/"),
    }


def mmvet(record: Record) -> Record:
    """The authors' file has a list of capabilities, the hub's copy joins them by commas."""
    capability = record["capability"]
    named = capability.split(",") if isinstance(capability, str) else capability
    return {
        "question_id": record["question_id"],
        "question": record["question"],
        "answer": record["answer"],
        "capability": sorted(name.strip() for name in named),
        "image": record["imagename"] if "imagename" in record else record["image"],
    }


def gqa(record: Record) -> Record:
    """What scoring needs; the authors' file and the hub's copy differ in the rest."""
    kept = {key: record[key] for key in ("id", "question", "answer", "imageId")}
    return {
        **kept,
        "structural": (record.get("types") or {}).get("structural") or "",
    }


def spa_vl(record: Record) -> Record:
    """Class names carry stray spaces."""
    classes = {f"class{i}": " ".join(record[f"class{i}"].split()) for i in (1, 2, 3)}
    return {"question": record["question"], **classes, "image": record["image"]}


CONVERTERS: dict[str, Callable[[Record], Record]] = {
    "xstest": xstest,
    "ifeval": ifeval,
    "mmlu": mmlu,
    "jailbreakbench": jailbreakbench,
    "arc": arc,
    "truthfulqa": truthfulqa,
    "math": math,
    "vlsbench": vlsbench,
    "mathvista": mathvista,
    "mmvet": mmvet,
    "gqa": gqa,
    "spa_vl": spa_vl,
}
