"""Files of every format give the same records; malformed ones a sentence."""

import gzip
import io
import json

import pytest

from copsd_bench.errors import CopsdError
from copsd_bench.sources.formats import parse

RECORDS = [{"prompt": 'He said "no",\nthen left', "label": "safe"}, {"prompt": "naïve", "label": "unsafe"}]
CSV = 'prompt,label\n"He said ""no"",\nthen left",safe\nnaïve,unsafe\n'.encode()


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", CSV),
        ("a.csv", b"\xef\xbb\xbf" + CSV),
        ("a.tsv", CSV.replace(b"prompt,label", b"prompt\tlabel").replace(b",safe", b"\tsafe").replace(b",un", b"\tun")),
        ("a.json", json.dumps(RECORDS).encode()),
        ("a.json", json.dumps({"canary": "c", "examples": RECORDS}).encode()),
        ("a.jsonl", "\n".join(map(json.dumps, RECORDS)).encode()),
        ("a.jsonl.gz", gzip.compress("\n\n".join(map(json.dumps, RECORDS)).encode(), mtime=0)),
        ("a.parquet", parquet()),
    ],
)
def test_formats_agree(name: str, data: bytes) -> None:
    assert parse(data, name) == RECORDS


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"prompt,label\n", "holds no records"),
        ("a.csv", b"prompt,label\nonly one\n", "record 1 has another number of columns"),
        ("a.csv", b'prompt,label\n"open,safe\n', "not valid csv"),
        ("a.csv", b"prompt\n\xff\xfe\n", "not valid csv"),
        ("a.json", b'{"a": [], "b": []}', "not valid json"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "holds no records"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}', mtime=0)[:-4], "not valid jsonl"),
        ("a.parquet", b"PAR1", "not valid parquet"),
        ("a.cvs", b"a", "did you mean 'csv'"),
    ],
)
def test_malformed_files_get_one_sentence(name: str, data: bytes, sentence: str) -> None:
    with pytest.raises(CopsdError, match=sentence) as caught:
        parse(data, name)
    assert "\n" not in str(caught.value)
