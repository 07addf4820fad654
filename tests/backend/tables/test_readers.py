"""Uploads of every kind, good and bad, through the door that visitors use."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from backend.errors import BadData
from backend.tables.pages import rows
from backend.tables.sources import Tables


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def arrow(**columns: Any) -> bytes:
    out = io.BytesIO()
    feather.write_feather(pa.table(columns), out, compression="uncompressed")
    return out.getvalue()


def stream(**columns: Any) -> bytes:
    out, table = io.BytesIO(), pa.table(columns)
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def excel(*lines: list[Any]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for line in lines:
        book.active.append(line)
    book.save(out)
    return out.getvalue()


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


LATIN = "1,déjà vu à la crème brûlée\n"
SPOKEN = "naïve café — 日本語 שלום\u200f"

# name → bytes, columns, rows (None: not compared)
GOOD: dict[str, tuple[bytes, list[str], list[list[Any]] | None]] = {
    "plain.csv": (b"a,b\n1,x\n2,y\n", ["a", "b"], [[1, "x"], [2, "y"]]),
    "windows.csv": (b"a,b\r\n1,x\r\n2,y\r\n", ["a", "b"], [[1, "x"], [2, "y"]]),
    "semicolons.csv": (b"a;b\n1;x\n2;y\n", ["a", "b"], [[1, "x"], [2, "y"]]),
    "tabs.tsv": (b"a\tb\n1\tx, y\n2\tz\n", ["a", "b"], [[1, "x, y"], [2, "z"]]),
    "quoted.csv": (b'a,b\n1,"two\nlines"\n2,"say ""hi"""\n', ["a", "b"], [[1, "two\nlines"], [2, 'say "hi"']]),
    "bom.csv": (b"\xef\xbb\xbfa,b\n1,x\n2,y\n", ["a", "b"], [[1, "x"], [2, "y"]]),
    "utf16.csv": ("a,b\n1,é\n2,日\n".encode("utf-16"), ["a", "b"], [[1, "é"], [2, "日"]]),
    "latin.csv": (f"a,b\n{LATIN * 30}".encode("cp1252"), ["a", "b"], [[1, LATIN[2:-1]]] * 30),
    "mixed.csv": (b"a\n" + b"1\n" * 30_000 + b"x\n", ["a"], None),
    "ragged.csv": (b"a,b\n1,x\n2\n3,y,z\n", ["column0", "column1", "column2"], None),
    "same-names.csv": (b"a,a,A,\n1,2,3,4\n", ["a", "a_1", "A_2", "column3"], [[1, 2, 3, 4]]),
    "reserved.csv": (b"_row,file_row_number,a\n1,2,3\n", ["_row_2", "file_row_number_2", "a"], [[1, 2, 3]]),
    "numbers.csv": (b"a,b\nNaN,1\ninf,2\n-inf,\n", ["a", "b"], [["NaN", 1], ["Infinity", 2], ["-Infinity", None]]),
    "spoken.csv": (f"a,b\n1,{SPOKEN}\n".encode(), ["a", "b"], [[1, SPOKEN]]),
    "markup.csv": (
        b"a,b\n1,<script>alert(1)</script>\n2,=1+1\n",
        ["a", "b"],
        [[1, "<script>alert(1)</script>"], [2, "=1+1"]],
    ),
    "header.csv": (b"name\nx\n", ["name"], [["x"]]),
    "lines.jsonl": (b'{"a":1,"b":"x"}\n{"a":2,"b":null}\n', ["a", "b"], [[1, "x"], [2, None]]),
    "list.json": (b'[{"a":1,"b":"x"},{"a":2,"b":"y"}]', ["a", "b"], [[1, "x"], [2, "y"]]),
    "pretty.json": (json.dumps([{"a": 1}, {"a": 2}], indent=2).encode(), ["a"], [[1], [2]]),
    "nested.jsonl": (
        b'{"m":[{"role":"user","content":"hi"}]}\n{"m":[{"role":"user","content":"ho"}]}\n',
        ["m"],
        [[[{"role": "user", "content": "hi"}]], [[{"role": "user", "content": "ho"}]]],
    ),
    "mixed.jsonl": (b'{"a":1}\n{"a":"x"}\n{"a":[1]}\n{"a":null}\n', ["a"], [["1"], ["x"], ["[1]"], [None]]),
    "other-keys.jsonl": (b'{"a":1}\n{"b":2}\n', ["a", "b"], [[1, None], [None, 2]]),
    "not-finite.jsonl": (b'{"a":NaN}\n{"a":Infinity}\n', ["a"], [["NaN"], ["Infinity"]]),
    "plain.txt": ("first\nsecond é\n\nlast".encode(), ["text"], [["first"], ["second é"], [""], ["last"]]),
    "table.parquet": (parquet(a=[1, 2], b=["x", None]), ["a", "b"], [[1, "x"], [2, None]]),
    "big-numbers.parquet": (parquet(a=[2**60, -(2**60)]), ["a"], [[str(2**60)], [str(-(2**60))]]),
    "odd.parquet": (
        parquet(
            a=pa.array(["x", "y"]).dictionary_encode(),
            b=pa.array([None, None]),
            c=[datetime(2020, 1, 2), None],
            d=[b"\0\1", None],
        ),
        ["a", "b", "c", "d"],
        [["x", None, "2020-01-02 00:00:00", {"bytes": 2}], ["y", None, None, None]],
    ),
    "same-names.parquet": (parquet(a=[1], A=[2]), ["a", "A_2"], [[1, 2]]),
    "table.arrow": (arrow(a=[1, 2], b=["x", None]), ["a", "b"], [[1, "x"], [2, None]]),
    "stream.arrow": (stream(a=[1, 2]), ["a"], [[1], [2]]),
    "table.feather": (arrow(a=[1]), ["a"], [[1]]),
    "sheet.xlsx": (excel(["a", "b"], [1, "x"], [2.5, None]), ["a", "b"], [[1.0, "x"], [2.5, None]]),
    "mixed.xlsx": (excel(["a", None], [1, 2], ["x", 3]), ["a", "column1"], [["1", 2], ["x", 3]]),
    # endings that lie
    "really-parquet.csv": (parquet(a=[1]), ["a"], [[1]]),
    "really-lines.csv": (b'{"a":1,"b":"x, y"}\n{"a":2,"b":"z"}\n', ["a", "b"], [[1, "x, y"], [2, "z"]]),
    "really-excel.csv": (excel(["a"], [1]), ["a"], [[1]]),
    "no-ending": (b"one\ntwo\n", ["text"], [["one"], ["two"]]),
    "two-tables.zip": (zipped(**{"d/1.csv": b"a\n1\n", "d/2.csv": b"a\n2\n", "README.txt": b"hi"}), ["a"], [[1], [2]]),
    "../up.csv": (b"a\n1\n", ["a"], [[1]]),
    'na me\'s "x".csv': (b"a\n1\n", ["a"], [[1]]),
    "glob*[1]?.csv": (b"a\n1\n", ["a"], [[1]]),
}


def wide(columns: int) -> bytes:
    numbers = range(columns)
    return f"{','.join(f'c{i}' for i in numbers)}\n{','.join(map(str, numbers))}\n".encode()


def bomb() -> bytes:
    return zipped(**{f"{i}.csv": b"a\n" + b"1\n" * (50 << 20) for i in range(2)})


def lying_zip() -> bytes:
    """Says that its file has 10 bytes; it has 10 million."""
    data = bytearray(zipped(**{"a.csv": b"a\n" + b"1\n" * 5_000_000}))
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    return bytes(data)


def locked() -> bytes:
    data = bytearray(zipped(**{"a.csv": b"a\n1\n"}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


# name → bytes, what the message says
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.csv": (lambda: b"", "is empty"),
    "header-only.csv": (lambda: b"a,b\n", "no rows"),
    "empty.parquet": (lambda: parquet(a=pa.array([], pa.int64())), "no rows"),
    "no-columns.parquet": (lambda: parquet(), "no columns"),
    "empty.jsonl": (lambda: b"\n\n", "begins with"),
    "broken.jsonl": (lambda: b'{"a":1}\n{"a":\n', "JSON"),
    "text.json": (lambda: b"hello", "begins with 'hello'"),
    "random.parquet": (lambda: bytes(range(1, 256)) * 9, "is not such a file"),
    "cut.parquet": (lambda: parquet(a=list(range(1000)))[:600], "Parquet"),
    "cut.arrow": (lambda: arrow(a=list(range(1000)))[:600], "Arrow"),
    "cut.zip": (lambda: zipped(**{"a.csv": b"a\n1\n"})[:50], "broken zip"),
    "broken.xlsx": (lambda: zipped(**{"[Content_Types].xml": b"<x/>"}), "Excel"),
    "binary.csv": (lambda: b"\0\1\2\3" * 100, "neither text"),
    "program": (lambda: b"\x7fELF\2\1\1" + b"\0" * 100, "neither text"),
    "packed.csv.gz": (lambda: b"\x1f\x8b\x08\0\0\0\0\0", "packed"),
    "one.png": (lambda: b"\x89PNG\r\n\x1a\n", "picture"),
    "text.png": (lambda: b"no picture", "is not such a file"),
    "old.xls": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel"),
    "wide.csv": (
        lambda: (",".join(f"c{i}" for i in range(10_001)) + "\n" + ",".join("1" * 10_001) + "\n").encode(),
        "10,001 columns",
    ),
    "up.zip": (lambda: zipped(**{"../../evil.csv": b"a\n1\n"}), "outside of itself"),
    "root.zip": (lambda: zipped(**{"/etc/evil.csv": b"a\n1\n"}), "outside of itself"),
    "windows.zip": (lambda: zipped(**{"..\\..\\evil.csv": b"a\n1\n"}), "outside of itself"),
    "drive.zip": (lambda: zipped(**{"C:/evil.csv": b"a\n1\n"}), "outside of itself"),
    "bomb.zip": (bomb, "would unpack"),
    "lying.zip": (lying_zip, "than it says"),
    "locked.zip": (locked, "password"),
    "nested.zip": (lambda: zipped(**{"inner.zip": zipped(**{"a.csv": b"a\n1\n"})}), "nothing that is read"),
    "disguised.zip": (lambda: zipped(**{"a.csv": zipped(**{"a.csv": b"a\n1\n"})}), "zip inside a zip"),
    "nothing.zip": (lambda: zipped(), "nothing that is read"),
    "programs.zip": (lambda: zipped(**{"run.py": b"import os"}), "only .py"),
    "differ.zip": (lambda: zipped(**{"1.csv": b"a\n1\n", "2.csv": b"b\n2\n"}), "different columns"),
}


def given(folder: Path, name: str, data: bytes) -> Path:
    path = folder / "uploads" / Path(name).name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", GOOD)
def test_reads(tables: Tables, tmp_path: Path, name: str) -> None:
    data, columns, wanted = GOOD[name]
    table = tables.open(str(given(tmp_path, name, data)))
    page = rows(table, 0, 100)
    json.dumps(page, allow_nan=False)
    assert [column["name"] for column in page["columns"]] == columns
    if wanted is not None:
        assert page["rows"] == wanted
    assert {path.name for path in table.folder.iterdir()} == {"data.parquet", "source.json"}


@pytest.mark.parametrize("name", BAD)
def test_refuses_and_leaves_nothing(tables: Tables, tmp_path: Path, name: str) -> None:
    make, says = BAD[name]
    path = given(tmp_path, name, make())
    with pytest.raises(BadData) as caught:
        tables.open(str(path))
    assert says in caught.value.message
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)
    assert list(tables.folder.iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"uploads", "tables"}


def test_ten_thousand_columns(tables: Tables, tmp_path: Path) -> None:
    table = tables.open(str(given(tmp_path, "wide.csv", wide(10_000))))
    page = rows(table)
    assert (len(table.columns), len(page["columns"])) == (10_000, 200)
    assert "first 200 of 10,000 columns" in page["partial"]
    assert rows(table, columns=["c9999"])["rows"] == [[9999]]


@pytest.mark.parametrize("ending", ["csv", pytest.param("jsonl", marks=pytest.mark.long), "txt"])
def test_a_cell_of_fifty_megabytes(tables: Tables, tmp_path: Path, ending: str) -> None:
    long = b"x" * 50_000_000
    data = {
        "csv": b"text\n" + long + b"\ny\n",
        "jsonl": b'{"text":"' + long + b'"}\n{"text":"y"}\n',
        "txt": long + b"\ny",
    }
    table = tables.open(str(given(tmp_path, f"big.{ending}", data[ending])))
    big, small = rows(table)["rows"]
    assert big == [{"shortened": "x" * 2000, "length": 50_000_000}]
    assert small == ["y"]


def test_what_is_decided_is_told(tables: Tables, tmp_path: Path) -> None:
    told = tables.open(str(given(tmp_path, "x.csv", parquet(a=[1])))).notes
    assert told == ("The name ends in .csv, the content is parquet: read as parquet.",)
    assert "utf-16" in tables.open(str(given(tmp_path, "y.csv", "a\n1\n".encode("utf-16")))).notes[0]


def test_large_tables_agree_with_pandas(tables: Tables, tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"n": range(50_000), "f": [i / 7 for i in range(50_000)], "t": [f"row {i}" for i in range(50_000)]}
    )
    path = given(tmp_path, "many.csv", frame.to_csv(index=False).encode())
    table = tables.open(str(path))
    assert table.rows == 50_000
    assert rows(table, 43_210, 100)["rows"] == frame.iloc[43_210:43_310].to_numpy().tolist()
    groups = pq.ParquetFile(table.files[0]).metadata
    assert groups.num_row_groups == 7
