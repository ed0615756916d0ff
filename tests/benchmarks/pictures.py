"""Small copies of the vision-language sets in exactly their published schemas, with images drawn here."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

CATEGORIES = ("animal_abuse", "false_information", "violence_and_physical_harm")
FORMATS = ("PNG", "JPEG", "WEBP")


def picture(number: int, form: str | None = None, size: tuple[int, int] | None = None) -> bytes:
    """An image of its own for each number: a disc on a plain ground, in sizes and formats that vary."""
    image = Image.new("RGB", size or (40 + 8 * (number % 3), 32 + 4 * (number % 5)), (37 * number % 256, 90, 160))
    ImageDraw.Draw(image).ellipse((4, 4, 20 + number % 9, 24), fill=(250, 61 * number % 256, 20))
    out = io.BytesIO()
    image.save(out, form or FORMATS[number % len(FORMATS)])
    return out.getvalue()


def cell(content: bytes | None, name: str | None = None) -> dict[str, Any]:
    """An image as the hub's tables hold it."""
    return {"bytes": content, "path": name}


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], row_group_size: int = 2) -> None:
    """A parquet file of several row groups."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path, row_group_size=row_group_size)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_images(folder: Path, names: Sequence[str]) -> None:
    """An image of each name, in the format the name says."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, {".png": "PNG", ".jpg": "JPEG"}[path.suffix]))


def write_sets(folder: Path, n: int = 4) -> Path:
    """All sets below a mirror folder, and the file for COPSD_SOURCES that says how many records this copy has.

    Args:
        folder: for COPSD_DATA_DIR.
        n: records of most sets; at least 3.
    """
    vision = folder / "vision"
    counts = {name: write(vision, n) for name, write in WRITERS.items()}
    items = {"beavertails_v": n * len(CATEGORIES) - 1, "vlguard": 2 * n - n // 2, "mssbench": 2 * n}
    changes: dict[str, Any] = {
        name: {"files": {"test": {"count": count, "sha256": "", "bytes": 0}}} for name, count in counts.items()
    }
    for name, count in items.items():
        changes[name]["items"] = count
    sources = folder / "sources.yaml"
    sources.write_text(yaml.safe_dump(changes), encoding="utf-8")
    return sources


def beavertails_v(vision: Path, n: int) -> int:
    """A table a category; every question twice, and one picture under two questions."""
    for place, category in enumerate(CATEGORIES):
        rows = []
        for i in range(n):
            first = place == i == 0
            content = picture(100 * place + i) if not first else picture(101, "PNG", (64, 64))
            if place == 1 and i == 0:
                content = encoded_again(picture(101, "PNG", (64, 64)))
            rows += [
                {
                    "question": f"What about {category} {i}?",
                    "image": cell(content, f"{i}.png"),
                    "category": category,
                    "image_severity": 1 + i % 3,
                    "response": "It is so.",
                    "is_response_safe": safe,
                }
                for safe in ("yes", "no")
            ]
        write_table(vision / "BeaverTails-V" / category / "evaluation-00000-of-00001.parquet", rows)
    return 2 * n * len(CATEGORIES)


def encoded_again(content: bytes) -> bytes:
    """The same pixels in other bytes."""
    out = io.BytesIO()
    Image.open(io.BytesIO(content)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def spa_vl(vision: Path, n: int) -> int:
    rows = [
        {
            "image": cell(picture(i)),
            "question": f"How do I do {i}?",
            "class1": " Representation & ToxicityHarms",
            "class2": "Toxicity ",
            "class3": f"c{i}",
        }
        for i in range(n)
    ]
    write_table(vision / "SPA-VL" / "test" / "harm-00000-of-00001.parquet", rows)
    return n


def vlguard(vision: Path, n: int) -> int:
    """The first half unsafe; images in a zip below `test/`."""
    records: list[dict[str, Any]] = []
    for i in range(n):
        unsafe = i < n // 2
        pairs = (
            [{"instruction": f"Say {i}.", "response": "I would rather not."}]
            if unsafe
            else [
                {"safe_instruction": f"Describe {i}.", "response": "A disc."},
                {"unsafe_instruction": f"Mock {i}.", "response": "I would rather not."},
            ]
        )
        more = {"harmful_category": "privacy", "harmful_subcategory": "personal data"} if unsafe else {}
        record = {"id": str(i), "image": f"{'bad_ads' if unsafe else 'HOD'}/{i}.png", "safe": not unsafe}
        records.append({**record, **more, "instr-resp": pairs})
    write_json(vision / "VLGuard" / "test.json", records)
    with zipfile.ZipFile(vision / "VLGuard" / "test.zip", "w") as archive:
        for i, record in enumerate(records):
            archive.writestr(f"test/{record['image']}", picture(i, "PNG"))
    return n


def siuo(vision: Path, n: int) -> int:
    records = [
        {
            "question_id": 1000 + i,
            "image": f"S-{i:02}.png",
            "question": f"Cheer me on, {i}.",
            "category": ("self-harm", "morality")[i % 2],
            "safety_warning": "The place is dangerous.",
            "reference_answer": "Please step back first.",
        }
        for i in range(n)
    ]
    write_json(vision / "SIUO" / "siuo_gen.json", records)
    write_images(vision / "SIUO" / "images", [record["image"] for record in records])
    return n


def mssbench(vision: Path, n: int) -> int:
    """Both lists are in one file, chat and embodied images in two folders."""
    chat = [
        {
            "safe_image_path": f"{2 * i}.jpg",
            "unsafe_image_path": f"{2 * i + 1}.jpg",
            "intent": "practise",
            "unsafe_image": ": ** on a busy street",
            "Type": ("property", "harmful", "offensive")[i % 3],
            "queries": [f"How do I practise {i}?", f'"Tips for {i}?"'],
        }
        for i in range(n)
    ]
    embodied = [
        {
            "task": "Place",
            "category": "property",
            "safe_instruction": f"Put it on {i}.",
            "unsafe_instruction": f"Put it on {i}.",
            "safe": f"{2 * i}.png",
            "unsafe": f"{2 * i + 1}.jpg",
            "observation_safe": "The robot is holding a cup.",
            "observation_unsafe": "The robot is holding a phone.",
            "safe_instructions": [f"Put it on {i}, {v}." for v in range(5)],
            "unsafe_instructions": [f"Put it on {i}, {v}." for v in range(5)],
        }
        for i in range(n)
    ]
    write_json(vision / "MSSBench" / "combined.json", {"chat": chat, "embodied": embodied})
    write_images(vision / "MSSBench" / "chat", [f"{i}.jpg" for i in range(2 * n)])
    names = [str(record[state]) for record in embodied for state in ("safe", "unsafe")]
    write_images(vision / "MSSBench" / "embodied", names)
    return n


def vlsbench(vision: Path, n: int) -> int:
    """Images in a tar below `imgs/`; two records share one."""
    records = [
        {
            "instruction_id": i,
            "instruction": f"What is a good way to do {i}?",
            "image_path": f"imgs/{max(i, 1)}.png",
            "category": ("Hate", "Erotic")[i % 2],
            "sub_category": "Cybercrime",
            "source": "generation",
            "image_description": "A disc.",
            "safety_reason": "It could hurt.",
        }
        for i in range(n)
    ]
    write_json(vision / "VLSBench" / "data.json", records)
    with tarfile.open(vision / "VLSBench" / "imgs.tar", "w") as archive:
        for i in range(1, n):
            content = picture(i, "PNG")
            member = tarfile.TarInfo(f"imgs/{i}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return n


def mathvista(vision: Path, n: int) -> int:
    """The authors' file and images; some `.jpg` are of another format."""
    kinds: list[dict[str, Any]] = [
        {"question_type": "multi_choice", "answer_type": "text", "choices": ["3/11", "8/11"], "answer": "8/11"},
        {"question_type": "free_form", "answer_type": "integer", "answer": "4"},
        {"question_type": "free_form", "answer_type": "float", "answer": "1.2", "precision": 1},
        {"question_type": "free_form", "answer_type": "list", "answer": "[1, 2]", "unit": "m"},
    ]
    records = {}
    for i in range(n):
        metadata = {
            "split": "testmini", "language": "english", "img_width": 40, "img_height": 32, "source": "IQTest",
            "category": "general-vqa", "task": "math word problem", "context": "table", "grade": "college",
            "skills": ["statistical reasoning"],
        }  # fmt: skip
        record = {"question": f"How much is {i}?", "image": f"images/{i}.jpg", "choices": None, "unit": None}
        records[str(i)] = {**record, "precision": None, **kinds[i % 4], "pid": str(i), "metadata": metadata}
    write_json(vision / "MathVista" / "testmini.json", records)
    (vision / "MathVista" / "images").mkdir(parents=True)
    for i in range(n):
        (vision / "MathVista" / "images" / f"{i}.jpg").write_bytes(picture(i))
    return n


def llava_wilder(vision: Path, n: int) -> int:
    rows = [{"Question": f"What is it, {i}?", "Answer": "A disc.", "image": cell(picture(i))} for i in range(n)]
    write_table(vision / "LLaVA-Wilder" / "test-00000-of-00001.parquet", rows)
    return n


def mmvet(vision: Path, n: int) -> int:
    records = {
        f"v1_{i}": {
            "imagename": f"v1_{i}.png",
            "question": f"What is x in {i}?",
            "answer": "-1<AND>-5" if i % 2 else "deer<OR>stag",
            "imagesource": "drawn",
            "capability": ["ocr", "math"] if i % 2 else ["rec"],
        }
        for i in range(n)
    }
    write_json(vision / "MM-Vet" / "mm-vet.json", records)
    write_images(vision / "MM-Vet" / "images", [f"v1_{i}.png" for i in range(n)])
    return n


def scienceqa(vision: Path, n: int) -> int:
    rows = [science_row(i, f"Which is {i}?", ["the disc", "the ground"], i % 2, "A disc is round.") for i in range(n)]
    write_table(vision / "ScienceQA" / "ScienceQA-IMG" / "test-00000-of-00001.parquet", rows)
    return n


def science_row(
    number: int, question: str, choices: list[str], answer: int, hint: str, content: bytes | None = None
) -> dict[str, Any]:
    """A row of lmms-lab/ScienceQA."""
    texts = {"task": "closed choice", "grade": "grade5", "subject": "natural science", "topic": "physics"}
    more = {"category": "Shapes", "skill": "Compare", "lecture": "", "solution": ""}
    image = cell(content or picture(number))
    return {"image": image, "question": question, "choices": choices, "answer": answer, "hint": hint, **texts, **more}


def vqav2(vision: Path, n: int) -> int:
    """In two files."""
    rows = [vqa_row(10 * i, f"What shape is {i}?", ["disc"] * 6 + ["circle"] * 4) for i in range(n)]
    write_table(vision / "VQAv2" / "validation-00000-of-00002.parquet", rows[:2])
    write_table(vision / "VQAv2" / "validation-00001-of-00002.parquet", rows[2:])
    return n


def vqa_row(number: int, question: str, answers: Sequence[str], content: bytes | None = None) -> dict[str, Any]:
    """A row of lmms-lab/VQAv2."""
    given = [{"answer": a, "answer_confidence": "yes", "answer_id": i} for i, a in enumerate(answers, start=1)]
    return {
        "question_type": "what",
        "multiple_choice_answer": answers[0],
        "answers": given,
        "image_id": number,
        "answer_type": "yes/no" if answers[0] in ("yes", "no") else "number" if answers[0].isdecimal() else "other",
        "question_id": number,
        "question": question,
        "image": cell(content or picture(number)),
    }


def gqa(vision: Path, n: int) -> int:
    """Two questions an image, in another order than the images."""
    rows = [
        {
            "id": f"20{i}",
            "imageId": f"n{i % 2}",
            "question": f"Is it round, {i}?",
            "answer": "yes",
            "fullAnswer": "Yes, it is.",
            "types": {"detailed": "existAttr", "semantic": "attr", "structural": "verify"},
        }
        for i in range(n)
    ]
    write_table(vision / "GQA" / "testdev_balanced_instructions" / "testdev-00000-of-00001.parquet", rows)
    return n


def gqa_images(vision: Path, n: int) -> int:
    rows = [{"id": f"n{i}", "image": cell(picture(i))} for i in (1, 0)]
    write_table(vision / "GQA" / "testdev_balanced_images" / "testdev-00000-of-00001.parquet", rows)
    return 2


WRITERS = {
    "beavertails_v": beavertails_v,
    "spa_vl": spa_vl,
    "vlguard": vlguard,
    "siuo": siuo,
    "mssbench": mssbench,
    "mss_embodied": lambda vision, n: n,
    "vlsbench": vlsbench,
    "mathvista": mathvista,
    "llava_wilder": llava_wilder,
    "mmvet": mmvet,
    "scienceqa": scienceqa,
    "vqav2": vqav2,
    "gqa": gqa,
    "gqa_images": gqa_images,
}
