from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadData, NotFound
from backend.recipes import data
from backend.starter import SAMPLES

PLAIN = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
ASKED = [{"role": "user", "content": "hi"}]
SAID = [{"role": "assistant", "content": "hello"}]


def written(folder: Path, name: str, content: Any) -> str:
    """Bytes and text as they are, a list as JSON lines."""
    path = folder / name
    if isinstance(content, list):
        content = "\n".join(json.dumps(row) for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    import pyarrow
    from pyarrow.parquet import write_table

    write_table(pyarrow.Table.from_pylist(rows), folder / "d.parquet")
    return folder / "d.parquet"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b"", "d.jsonl is empty. Training needs at least 2 rows."),
        ("d.jsonl", "\n\n", "d.jsonl has no rows."),
        ("d.jsonl", PLAIN[:1], "d.jsonl has 1 row. Training needs at least 2."),
        ("d.jsonl", b"\x89PNG\r\n\x1a\n\0\0", "d.jsonl is a PNG picture, not JSON."),
        ("d.csv", b"\xff\xd8\xff\xe0\0\0", "d.csv is a JPEG picture, not a CSV file."),
        ("d.jsonl", b"PK\x03\x04....", "d.jsonl is a ZIP archive (or an Office document), not JSON."),
        ("d.json", "  <!DOCTYPE html><p>404</p>", "d.json is a web page or XML, not JSON."),
        ("d.csv", b"a,b\n\0\0", "d.csv is a binary file, not a CSV file."),
        ("d.txt", "a\nb\n".encode("utf-16"), "d.txt is text in UTF-16, not plain text."),
        ("d.jsonl", b"PAR1....PAR1", "d.jsonl is a Parquet file, not JSON."),
        ("d.parquet", "prompt,completion\na,b\n", "d.parquet is something else, not a Parquet file."),
        ("d.parquet", b"PAR1 and no end", "d.parquet is cut off: its end is missing."),
        ("d.parquet", b"PAR1 nonsense PAR1", "d.parquet is broken: "),
        ("d.jsonl", b'{"text": "a"}\n{"text": "\xe9"}\n', "Line 2 of d.jsonl is not UTF-8 text."),
        ("d.xlsx", "a", "d.xlsx ends in .xlsx; that is not read."),
        ("d", "a", "d ends in nothing; that is not read."),
        (
            "d.jsonl",
            '{"text": "a"}\n{"text": "b"\n',
            "Row 2 of d.jsonl is not JSON: Expecting ',' delimiter at column 13 of {",
        ),
        ("d.jsonl", '{"text": "a"}\n\n[1]\n', "Row 2 of d.jsonl is [1]; it must be an object"),
        ("d.json", "[1, 2]", "Row 1 of d.json is 1; it must be an object"),
        ("d.json", "[{", "d.json is not JSON: "),
        ("d.jsonl", [{"a": 1, "b": 2}] * 2, "d.jsonl has the columns a, b. Fine-tuning needs prompt and completion"),
        ("d.jsonl", [{"prompt": "a"}] * 2, "The column 'completion' is missing. d.jsonl has the columns prompt."),
        ("d.jsonl", [*PLAIN, {"prompt": "a"}], "Row 3 of d.jsonl: completion is missing."),
        ("d.jsonl", [*PLAIN, {"prompt": 42, "completion": "b"}], "Row 3 of d.jsonl: prompt is 42; it must be text."),
        ("d.jsonl", [*PLAIN, {"prompt": "a", "completion": " "}], "Row 3 of d.jsonl: completion is empty."),
        ("d.jsonl", [*PLAIN, {"prompt": ASKED, "completion": "b"}], "Row 3 of d.jsonl: prompt is [{"),
        (
            "d.jsonl",
            [{"prompt": ASKED, "completion": "b"}] * 2,
            'Row 1 of d.jsonl: completion is "b"; it must be a list of messages.',
        ),
        ("d.jsonl", [{"prompt": ASKED, "completion": ASKED}] * 2, "Row 1 of d.jsonl: completion has no answer"),
        ("d.jsonl", [{"prompt": ASKED, "completion": SAID + ASKED}] * 2, "Row 1 of d.jsonl: completion has a user's"),
        ("d.jsonl", [{"messages": []}] * 2, "Row 1 of d.jsonl: messages is empty."),
        ("d.jsonl", [{"messages": ASKED}] * 2, "Row 1 of d.jsonl: messages has no answer by the assistant."),
        ("d.jsonl", [{"messages": ["hi"]}] * 2, 'Row 1 of d.jsonl: message 1 of messages is "hi"; it must have role'),
        (
            "d.jsonl",
            [{"messages": [{"role": "boss", "content": "x"}]}] * 2,
            'Row 1 of d.jsonl: message 1 of messages has the role "boss"; use system, user or assistant.',
        ),
        (
            "d.jsonl",
            [{"messages": [*ASKED, {"role": "assistant", "content": None}]}] * 2,
            "Row 1 of d.jsonl: message 2 of messages has the content null; it must be text.",
        ),
        ("d.jsonl", [{"instruction": "", "output": "b"}] * 2, "Row 1 of d.jsonl: instruction is empty."),
        (
            "d.jsonl",
            [{"instruction": "a", "input": 7, "output": "b"}] * 2,
            "Row 1 of d.jsonl: input is 7; it must be text.",
        ),
        ("d.csv", "prompt,completion\na,b\nc\n", "Row 2 of d.csv has 1 values for 2 columns."),
        ("d.csv", 'prompt,completion\n"a"x,b\n', "Row 1 of d.csv can't be read: "),
        ("d.csv", "prompt,completion\na,b\nc,\n", "Row 2 of d.csv: completion is empty."),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(BadData) as caught:
        data.check(written(tmp_path, name, content))
    assert str(caught.value).startswith(message)
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


def test_a_row_far_down_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", [PLAIN[0]] * 9_999 + [{"prompt": "x" * 200, "completion": ["no"]}])
    with pytest.raises(BadData, match=r'Row 10000 of d.jsonl: completion is \["no"\]; it must be text.'):
        data.load(path, "train")


def test_many_rows_are_checked_quickly(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", PLAIN * 50_000)
    began = time.perf_counter()
    data.check(path)
    assert time.perf_counter() - began < 20  # 0.5 s on an idle core; loading 100,000 rows any slower way takes minutes


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        data.check(str(tmp_path / "d.jsonl"))
    with pytest.raises(BadData, match="is a folder"):
        data.check(str(tmp_path))


PAIR = {"prompt": ASKED, "completion": SAID}


@pytest.mark.parametrize(
    ("row", "name", "becomes"),
    [
        (PLAIN[0] | {"topic": "x"}, "prompt-completion, text", PLAIN[0]),
        (PAIR, "prompt-completion, chat", PAIR),
        ({"messages": ASKED + SAID}, "messages", {"messages": ASKED + SAID}),
        ({"text": "abc", "id": 7}, "text", {"text": "abc"}),
        ({"instruction": "hi", "output": "hello"}, "Alpaca", PAIR),
        (
            {"instruction": "add", "input": "1 2", "output": "3"},
            "Alpaca",
            {
                "prompt": [{"role": "user", "content": "add\n\n1 2"}],
                "completion": [{"role": "assistant", "content": "3"}],
            },
        ),
        (
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
            "ShareGPT",
            {"messages": ASKED + SAID},
        ),
    ],
)
def test_formats(tmp_path: Path, row: Any, name: str, becomes: Any) -> None:
    found, form = data.load(written(tmp_path, "d.jsonl", [row, row]), "train")
    assert form.name == name
    assert found.to_list() == [becomes, becomes]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", json.dumps(PLAIN)),
        ("d.json", json.dumps({"version": 1, "data": PLAIN}, indent=1)),
        ("d.json", [*PLAIN]),
        ("D.JSONL", b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, PLAIN)).encode()),
        ("d.csv", "prompt,completion\na,b\nc,d\n"),
        ("d.tsv", "prompt\tcompletion\na\tb\nc\td\n"),
    ],
)
def test_files(tmp_path: Path, name: str, content: Any) -> None:
    found, _ = data.load(written(tmp_path, name, content), "train")
    assert found.to_list() == PLAIN


def test_a_quoted_line_break_in_csv(tmp_path: Path) -> None:
    found, _ = data.load(written(tmp_path, "d.csv", 'prompt,completion\n"a\nb, ""c""",d\ne,f\n'), "train")
    assert found[0]["prompt"] == 'a\nb, "c"'


def test_parquet(tmp_path: Path) -> None:
    found, _ = data.load(str(parquet(tmp_path, [PAIR, PAIR])), "train")
    assert found.to_list() == [PAIR, PAIR]


def test_lines_of_text(tmp_path: Path) -> None:
    found, _ = data.load(written(tmp_path, "d.txt", "one\n\ntwo\n"), "train")
    assert found.to_list() == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("name", ["sample/instructions", "sample/evaluation"])
def test_samples_are_good(name: str) -> None:
    assert data.check(name).name == "prompt-completion, chat"
    assert name in SAMPLES


def test_max_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", PLAIN * 5 + [{"prompt": 1}])
    assert len(data.load(path, "train", max_rows=3)[0]) == 3


def test_the_split_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    rows = [{"text": str(i)} for i in range(50)]
    whole, _ = data.load(written(tmp_path, "d.jsonl", rows), "train")
    train, held = data.split(whole, 5, seed=1)
    assert held is not None
    assert sorted([*train["text"], *held["text"]]) == sorted(row["text"] for row in rows)
    assert (len(train), len(held)) == (45, 5)
    again, other = data.split(whole, 5, seed=1)[1], data.split(whole, 5, seed=2)[1]
    assert again is not None
    assert other is not None
    assert again["text"] == held["text"] != other["text"]


def test_at_most_half_is_held_out(tmp_path: Path) -> None:
    whole, _ = data.load(written(tmp_path, "d.jsonl", PLAIN), "train")
    assert [len(part or ()) for part in data.split(whole, 16, seed=0)] == [1, 1]
    assert data.split(whole, 0, seed=0) == (whole, None)


def test_a_look_at_good_data() -> None:
    seen = data.look("sample/instructions", 3)
    assert seen["columns"] == ["prompt", "completion", "topic"]
    assert (len(seen["rows"]), seen["total"], seen["problem"]) == (3, 504, None)
    assert seen["format"] == "prompt-completion, chat"


def test_a_look_at_bad_data_shows_what_there_is(tmp_path: Path) -> None:
    seen = data.look(written(tmp_path, "d.jsonl", [*PLAIN, {"prompt": 1, "completion": "x"}]), 2)
    assert (seen["rows"], seen["total"]) == (PLAIN, 3)
    assert seen["problem"]["message"] == "Row 3 of d.jsonl: prompt is 1; it must be text."
    seen = data.look("sample/preferences")
    assert seen["problem"]["code"] == "data.columns"
    assert seen["columns"] == ["prompt", "chosen", "rejected"]
    assert data.look(written(tmp_path, "e.jsonl", b""))["problem"]["code"] == "data.empty"


def test_looking_at_a_file_stays_light() -> None:
    import subprocess
    import sys

    program = "import sys; from backend.recipes import METHODS; sft = METHODS['sft']; sft.look('sample/instructions');"
    program += "sft.preflight(sft.params()); print(sorted({'torch', 'datasets', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
