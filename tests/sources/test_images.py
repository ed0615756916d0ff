"""Images by name: from folders, archives and tables, never from outside them, and never a broken one."""

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.sources.archives import unpacked
from copsd_bench.sources.images import Images, check_images, images_of
from copsd_bench.sources.loader import load_records
from copsd_bench.sources.pins import pins
from copsd_bench.sources.tables import table_records
from tests.benchmarks.pictures import cell, picture, write_sets, write_table


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing but what a test writes is at hand."""
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COPSD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    pins.cache_clear()
    yield
    pins.cache_clear()


def made_zip(path: Path, name: str, mode: int = 0) -> Path:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good/a.png", picture(1))
        archive.writestr(member, b"escaped")
    return path


def made_tar(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    member.size = 7 if kind == tarfile.REGTYPE else 0
    with tarfile.open(path, "w") as archive:
        good = tarfile.TarInfo("good/a.png")
        good.size = len(picture(1))
        archive.addfile(good, io.BytesIO(picture(1)))
        archive.addfile(member, io.BytesIO(b"escaped") if member.size else None)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda path: made_zip(path, "../escaped.png"),
        lambda path: made_zip(path, "good/../../escaped.png"),
        lambda path: made_zip(path, str(path.parent / "outside.png")),
        lambda path: made_zip(path, "..\\escaped.png"),
        lambda path: made_zip(path, "C:/escaped.png"),
        lambda path: made_zip(path, "link.png", 0o120777),
        lambda path: made_tar(path, "../escaped.png"),
        lambda path: made_tar(path, str(path.parent / "outside.png")),
        lambda path: made_tar(path, "link.png", tarfile.SYMTYPE, "/etc/passwd"),
        lambda path: made_tar(path, "link.png", tarfile.LNKTYPE, "good/a.png"),
        lambda path: made_tar(path, "device.png", tarfile.CHRTYPE),
        lambda path: made_tar(path, "pipe.png", tarfile.FIFOTYPE),
    ],
)
def test_a_malicious_archive_writes_nothing(tmp_path: Path, make: Any) -> None:
    archive = make(tmp_path / "images.archive")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CopsdError, match=r"outside its folder|no plain file") as caught:
        unpacked(archive, tmp_path / "cache" / "set" / "unpacked")
    assert caught.value.code == ExitCode.DATA
    after = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert after == before
    assert not (tmp_path / "cache" / "set" / "unpacked").exists()


def test_an_archive_is_unpacked_once_and_whole(tmp_path: Path) -> None:
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("test/a/1.png", picture(1))
        opened.writestr("test/a/", b"")
    folder = unpacked(archive, tmp_path / "cache" / "x")
    assert (folder / "test" / "a" / "1.png").read_bytes() == picture(1)
    archive.unlink()
    assert unpacked(archive, folder) == folder


@pytest.mark.parametrize("name", ["images.zip", "images.tar"])
def test_a_damaged_archive_is_a_sentence(tmp_path: Path, name: str) -> None:
    whole = made_zip(tmp_path / "w", "b.png") if name.endswith("zip") else made_tar(tmp_path / "w", "b.png")
    content = bytearray(whole.read_bytes())
    content[60:90] = os.urandom(30)
    (tmp_path / name).write_bytes(content if name.endswith("zip") else content[:700])
    with pytest.raises(CopsdError, match="cannot be unpacked"):
        unpacked(tmp_path / name, tmp_path / "cache" / "x")
    assert not (tmp_path / "cache" / "x").exists()


def folder_of(tmp_path: Path) -> Images:
    return Images("Set", tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is not in"),
        (b"", "cannot be decoded"),
        (b"<html>not found</html>", "cannot be decoded"),
        (picture(0, "PNG", (64, 64))[:150], "cannot be decoded"),
        (picture(0, "JPEG", (64, 64))[:400], "cannot be decoded"),
        (picture(0, "TIFF"), "has the format TIFF"),
    ],
)
def test_a_missing_or_broken_image_is_an_error(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(CopsdError, match=sentence) as caught:
        folder_of(tmp_path).open("a.png")
    assert caught.value.code == ExitCode.DATA
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "x/../../a.png"])
def test_a_record_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "a.png").write_bytes(picture(1))
    with pytest.raises(CopsdError, match="outside its folder"):
        folder_of(tmp_path / "set").open(name)


def test_an_images_type_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(2, "WEBP"))
    assert folder_of(tmp_path).open("a.jpg").data_uri.startswith("data:image/webp;base64,")


def test_cells_are_taken_out_a_row_group_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "set" / "test.parquet"
    write_table(path, [{"q": str(i), "image": cell(picture(i) if i != 4 else None)} for i in range(5)], 2)
    records = table_records(path, "image")
    assert [record["image"] for record in records] == [f"set/test.parquet#{i}" for i in range(5)]
    images = Images("Set", None, tmp_path / "cache", {"set/test.parquet": path}, "image")
    assert images.open("set/test.parquet#3").content == picture(3)
    assert len(list((tmp_path / "cache").rglob("*.image"))) == 2
    with pytest.raises(CopsdError, match=r"row 4 of .* has no image"):
        images.open("set/test.parquet#4")
    with pytest.raises(CopsdError, match="has no row 9"):
        images.open("set/test.parquet#9")
    with pytest.raises(CopsdError, match="has no column 'picture' of images; its columns: q, image"):
        table_records(path, "picture")


def test_every_set_is_checked_image_by_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPSD_SOURCES", str(write_sets(tmp_path, 3)))
    counts = {
        name: check_images(load_records(name)) for name, pin in pins().items() if pin.images and "lite" not in name
    }
    assert counts["beavertails_v"] == 18
    assert counts["mssbench"] == counts["mss_embodied"] == 6
    assert counts["vlsbench"] == 2
    (tmp_path / "vision" / "MM-Vet" / "images" / "v1_1.png").write_bytes(b"cut")
    with pytest.raises(CopsdError, match=r"MM-Vet: image v1_1.png cannot be decoded"):
        check_images(load_records("mmvet"))


def test_images_that_are_nowhere_say_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPSD_SOURCES", str(write_sets(tmp_path, 3)))
    (tmp_path / "vision" / "VLSBench" / "imgs.tar").unlink()
    with pytest.raises(
        CopsdError, match=r"images of VLSBench are not at hand: .* put them into FOLDER/vision/VLSBench"
    ):
        images_of(load_records("vlsbench"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("vqav3: {}", "Unknown benchmark in .*'vqav3'; did you mean 'vqav2'"),
        ("vqav2: {hub: {repo: a/b, revision: tomorrow}}", "vqav2.hub.revision"),
        ("vqav2: {records: 3}", "vqav2.records"),
        ("[", "not valid YAML"),
    ],
)
def test_changes_to_the_sources_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    (tmp_path / "sources.yaml").write_text(text)
    monkeypatch.setenv("COPSD_SOURCES", str(tmp_path / "sources.yaml"))
    with pytest.raises(CopsdError, match=sentence):
        pins()


def test_a_repository_and_revision_can_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sources.yaml").write_text("gqa: {hub: {repo: me/GQA, revision: main}}")
    monkeypatch.setenv("COPSD_SOURCES", str(tmp_path / "sources.yaml"))
    pin = pins()["gqa"]
    assert pin.hub is not None
    assert (pin.hub.repo, pin.size, pin.licence) == ("me/GQA", 12578, "MIT")
    with pytest.raises(CopsdError, match="dataset me/GQA at main is not in the hub cache"):
        load_records("gqa")


def test_another_schema_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a set whose file has no known sha256."""
    monkeypatch.setenv("COPSD_SOURCES", str(write_sets(tmp_path, 3)))
    rows = [{"question": "What is it?", "Answer": "A disc.", "image": cell(picture(i))} for i in range(3)]
    write_table(tmp_path / "vision" / "LLaVA-Wilder" / "test-00000-of-00001.parquet", rows)
    with pytest.raises(CopsdError, match=r"has another schema than LLaVA-Wilder \(small\): KeyError\('Question'\)"):
        load_records("llava_wilder")
