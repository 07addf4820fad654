from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadData, NotFound
from backend.recipes import data
from backend.recipes.params import TrainParams
from backend.starter import SAMPLES

PLAIN = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
ASKED = [{"role": "user", "content": "hi"}]
SAID = [{"role": "assistant", "content": "hello"}]
OTHER = [{"role": "assistant", "content": "go away"}]
SFT: tuple[data.Kind, ...] = ("prompt-completion", "language modelling")


def read(path: str, *wants: data.Kind, **settings: Any) -> data.Loaded:
    return data.read(TrainParams(dataset=path, **settings), wants or SFT)


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
        ("d.jsonl", b"", "d.jsonl is empty. Give a file with rows; training needs at least 2."),
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
        ("d.xlsx", "a", "d.xlsx ends in .xlsx; tuning does not read that. Open it in Data"),
        ("d", "a", "d ends in nothing; that is not read."),
        (
            "d.jsonl",
            '{"text": "a"}\n{"text": "b"\n',
            "Row 2 of d.jsonl is not JSON: Expecting ',' delimiter at column 13 of {",
        ),
        ("d.jsonl", '{"text": "a"}\n\n[1]\n', "Row 2 of d.jsonl is [1]; it must be an object"),
        ("d.json", "[1, 2]", "Row 1 of d.json is 1; it must be an object"),
        ("d.json", "[{", "d.json is not JSON: "),
        (
            "d.jsonl",
            [{"a": 1, "b": 2}] * 2,
            "d.jsonl has the columns a, b. This method learns from prompt and completion",
        ),
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
        data.check(TrainParams(dataset=written(tmp_path, name, content)), SFT)
    assert str(caught.value).startswith(message)
    assert caught.value.hint
    assert str(tmp_path) not in str(caught.value)


PREFERENCE = {"prompt": "a", "chosen": "b", "rejected": "c"}
LIKED = {"prompt": "a", "completion": "b", "label": True}


@pytest.mark.parametrize(
    ("want", "content", "message"),
    [
        ("preference", [PREFERENCE, PREFERENCE | {"rejected": ""}], "Row 2 of d.jsonl: rejected is empty."),
        ("preference", [PREFERENCE, {"prompt": "a", "chosen": "b"}], "Row 2 of d.jsonl: rejected is missing."),
        ("preference", [PREFERENCE | {"rejected": "b"}] * 2, "Row 1 of d.jsonl: chosen and rejected are the same."),
        ("preference", [PREFERENCE | {"chosen": SAID}] * 2, 'Row 1 of d.jsonl: rejected is "c"; it must be a list'),
        ("preference", [{"prompt": "a", "chosen": "b"}] * 2, "The column 'rejected' is missing."),
        (
            "preference",
            PLAIN,
            "d.jsonl is prompt-completion data. This method learns from prompt, chosen and rejected.",
        ),
        (
            "preference",
            [{"chosen": SAID, "rejected": OTHER}] * 2,
            "Row 1 of d.jsonl: prompt is missing.",
        ),
        ("unpaired", [LIKED, LIKED | {"label": None}], "Row 2 of d.jsonl: label is missing."),
        ("unpaired", [LIKED, LIKED | {"label": 5}], "Row 2 of d.jsonl: label is 5; it must be true or false."),
        ("unpaired", [LIKED | {"label": [1]}] * 2, "Row 1 of d.jsonl: label is [1]; it must be true or false."),
        ("unpaired", PLAIN, "d.jsonl is prompt-completion data. This method learns from prompt, completion and label."),
        (
            "unpaired",
            [{"messages": ASKED + SAID + ASKED, "label": True}] * 2,
            "Row 1 of d.jsonl: messages do not end with an answer by the assistant.",
        ),
        ("prompt-only", [{"prompt": "a"}, {"prompt": None}], "Row 2 of d.jsonl: prompt is missing."),
        ("prompt-only", [{"prompt": ASKED + SAID}] * 2, "Row 1 of d.jsonl: prompt ends with the assistant's message"),
        ("prompt-only", [{"messages": SAID}] * 2, "Row 1 of d.jsonl: messages begin with their only answer."),
        ("prompt-only", [{"text": "a"}] * 2, "d.jsonl is text data. This method learns from prompts."),
    ],
)
def test_bad_files_for_other_methods(tmp_path: Path, want: data.Kind, content: Any, message: str) -> None:
    with pytest.raises(BadData) as caught:
        data.check(TrainParams(dataset=written(tmp_path, "d.jsonl", content)), (want,))
    assert str(caught.value).startswith(message)


BAD = [*PLAIN, {"prompt": 1, "completion": "x"}, PLAIN[0], {"prompt": "e"}, {"prompt": "f", "completion": ""}]


def test_every_row_is_told_of(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", "\n".join(map(json.dumps, BAD)) + "\n{no}\n" + json.dumps(BAD[-1]))
    seen = data.look(path, SFT)
    assert seen["problem"]["message"] == "Row 3 of d.jsonl: prompt is 1; it must be text. 5 of 8 rows are wrong."
    assert seen["problem"]["hint"] == "Correct them, or set bad_rows to drop to leave them out."
    assert (seen["report"]["rows"], seen["report"]["good"]) == (8, 3)
    assert seen["report"]["wrong"] == [
        {"rule": "completion is empty", "count": 2, "rows": [6, 8]},
        {"rule": "prompt is not text", "count": 1, "rows": [3]},
        {"rule": "completion is missing", "count": 1, "rows": [5]},
        {"rule": "not JSON", "count": 1, "rows": [7]},
    ]
    assert seen["report"]["twice"] == {"rule": "the same as an earlier row", "count": 1, "rows": [4]}
    assert data.look(path, SFT, rules=data.Rules("drop"))["problem"] is None


def test_wrong_rows_are_left_out_where_that_is_wished(tmp_path: Path) -> None:
    loaded = read(written(tmp_path, "d.jsonl", BAD), bad_rows="drop")
    assert loaded.table.to_pylist() == [*PLAIN, PLAIN[0]]
    assert loaded.report.bad == 3
    with pytest.raises(BadData, match=r"d.jsonl has 1 good row of 4"):
        read(written(tmp_path, "d.jsonl", BAD[1:3] + BAD[4:]), bad_rows="drop")


def test_rows_that_are_there_twice_are_kept_or_left_out_or_stop(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", [*PLAIN, PLAIN[0] | {"id": 3}, PLAIN[1], PLAIN[0]])
    assert len(read(path).table) == 5
    loaded = read(path, same_rows="drop")
    assert (loaded.table.to_pylist(), list(loaded.numbers)) == (PLAIN, [1, 2])
    with pytest.raises(BadData, match=r"Row 3 of d.jsonl is the same as an earlier row. 3 of 5 rows are.") as caught:
        data.check(TrainParams(dataset=path, same_rows="stop"), SFT)
    assert "same_rows" in caught.value.hint
    assert [data.look(path, SFT, rules=data.Rules(same_rows=one))["kept"] for one in ("keep", "drop")] == [5, 2]
    with pytest.raises(BadData, match=r"e.jsonl has 1 good row of 3. Training needs at least 2."):
        read(written(tmp_path, "e.jsonl", [PLAIN[0]] * 3), same_rows="drop")


def test_a_row_of_the_table_knows_its_row_in_the_file(tmp_path: Path) -> None:
    assert list(read(written(tmp_path, "d.jsonl", BAD), bad_rows="drop").numbers) == [1, 2, 4]
    choices = [{"prompt": "a", "chosen": "b", "rejected": str(number)} for number in range(20)]
    path = written(tmp_path, "e.jsonl", choices)
    assert list(read(path, "unpaired", max_rows=2).numbers) == [1, 1, 2, 2]
    drawn = read(path, "preference", max_rows=5, pick_rows="random")
    assert [int(row["rejected"]) + 1 for row in drawn.table.to_pylist()] == list(drawn.numbers)


def test_a_row_far_down_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", [PLAIN[0]] * 9_999 + [{"prompt": "x" * 200, "completion": ["no"]}])
    with pytest.raises(BadData, match=r'Row 10000 of d.jsonl: completion is \["no"\]; it must be text.'):
        read(path)


def test_many_rows_are_checked_quickly(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", PLAIN * 50_000)
    began = time.perf_counter()
    data.check(TrainParams(dataset=path), SFT)
    assert time.perf_counter() - began < 20  # 0.5 s on an idle core; loading 100,000 rows any slower way takes minutes


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        data.check(TrainParams(dataset=str(tmp_path / "d.jsonl")), SFT)
    with pytest.raises(BadData, match="is a folder"):
        data.check(TrainParams(dataset=str(tmp_path)), SFT)


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
    loaded = read(written(tmp_path, "d.jsonl", [row, row]))
    assert loaded.shape.name == name
    assert loaded.table.to_pylist() == [becomes, becomes] == loaded.dataset().to_list()


CHATS = {"prompt": ASKED, "chosen": SAID, "rejected": OTHER}


@pytest.mark.parametrize(
    ("want", "row", "becomes"),
    [
        ("preference", PREFERENCE | {"topic": "x"}, [PREFERENCE]),
        ("preference", {"chosen": "b", "rejected": "c"}, [{"chosen": "b", "rejected": "c"}]),
        ("preference", CHATS, [CHATS]),
        ("preference", {"chosen": ASKED + SAID, "rejected": ASKED + OTHER}, [CHATS]),
        ("preference", {"prompt": "hi", "chosen": ASKED + SAID, "rejected": ASKED + OTHER}, [CHATS]),
        ("preference", {"prompt": "hi", "chosen": SAID, "rejected": OTHER}, [CHATS]),
        (
            "preference",
            {
                "conversations": [{"from": "human", "value": "hi"}],
                "chosen": {"from": "gpt", "value": "hello"},
                "rejected": {"from": "gpt", "value": "go away"},
            },
            [CHATS],
        ),
        ("unpaired", LIKED | {"label": " No "}, [LIKED | {"label": False}]),
        ("unpaired", {"messages": ASKED + SAID, "label": 1}, [PAIR | {"label": True}]),
        ("unpaired", PREFERENCE, [LIKED, LIKED | {"completion": "c", "label": False}]),
        ("unpaired", CHATS, [PAIR | {"label": True}, {"prompt": ASKED, "completion": OTHER, "label": False}]),
        ("prompt-only", {"prompt": "a", "id": 1}, [{"prompt": "a"}]),
        ("prompt-only", {"prompt": ASKED, "reference": 42}, [{"prompt": ASKED, "reference": "42"}]),
        ("prompt-only", PLAIN[0], [{"prompt": "a", "reference": "b"}]),
        ("prompt-only", CHATS, [{"prompt": ASKED, "reference": "hello"}]),
        ("prompt-only", {"messages": ASKED + SAID}, [{"prompt": ASKED, "reference": "hello"}]),
    ],
)
def test_what_other_methods_learn_from(tmp_path: Path, want: data.Kind, row: Any, becomes: Any) -> None:
    loaded = read(written(tmp_path, "d.jsonl", [row, row]), want)
    assert loaded.table.to_pylist() == becomes * 2
    assert loaded.shape.kind == want
    assert set(loaded.shape.columns) == set(becomes[0])


def test_columns_by_any_name(tmp_path: Path) -> None:
    path = written(tmp_path, "d.csv", "Question,answer,id\na,b,1\nc,d,2\n")
    seen = data.look(path, SFT)
    assert seen["problem"]["code"] == "data.columns"
    assert "perhaps Question as prompt, answer as completion" in seen["problem"]["hint"]
    assert (seen["total"], seen["guess"]) == (2, {"prompt": "Question", "completion": "answer"})
    assert seen["roles"] == ["prompt", "completion", "messages", "text"]
    assert data.look(path, SFT, columns=seen["guess"])["problem"] is None
    assert read(path, columns=seen["guess"]).table.to_pylist() == PLAIN
    assert read(path, columns={"text": "answer"}).table.to_pylist() == [{"text": "b"}, {"text": "d"}]
    swapped = read(written(tmp_path, "e.jsonl", PLAIN), columns={"prompt": "completion", "completion": "prompt"})
    assert swapped.table.to_pylist()[0] == {"prompt": "b", "completion": "a"}
    with pytest.raises(BadData, match=r"columns takes prompt from 'query'; d.csv has the columns Question, answer, id"):
        read(path, columns={"prompt": "query"})
    with pytest.raises(BadData, match=r"the role 'ask'; there is no such role. The roles are prompt, completion"):
        read(path, columns={"ask": "Question"})


def test_a_file_that_has_not_changed_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "d.jsonl", PLAIN)
    read_before: list[str] = []
    real = data.rows_of
    monkeypatch.setattr(
        data, "rows_of", lambda name, *more, **others: read_before.append(name) or real(name, *more, **others)
    )
    for _ in range(3):
        assert data.look(path, SFT)["total"] == 2
        data.check(TrainParams(dataset=path), SFT)
    assert read_before == [path]
    written(tmp_path, "d.jsonl", PLAIN * 2)
    assert data.look(path, SFT)["total"] == 4
    assert len(read_before) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", json.dumps(PLAIN)),
        ("d.json", json.dumps({"version": 1, "data": PLAIN}, indent=1)),
        ("d.json", [*PLAIN]),
        ("D.JSONL", b"\xef\xbb\xbf" + "\r\n".join(map(json.dumps, PLAIN)).encode()),
        ("d.csv", "prompt,completion\na,b\nc,d\n"),
        ("d.tsv", "prompt\tcompletion\na\tb\nc\td\n"),
        ("d.tab", "prompt\tcompletion\na\tb\nc\td\n"),
        ("d.ndjson", PLAIN),
    ],
)
def test_files(tmp_path: Path, name: str, content: Any) -> None:
    assert read(written(tmp_path, name, content)).table.to_pylist() == PLAIN


def test_a_quoted_line_break_in_csv(tmp_path: Path) -> None:
    found = read(written(tmp_path, "d.csv", 'prompt,completion\n"a\nb, ""c""",d\ne,f\n')).table.to_pylist()
    assert found[0]["prompt"] == 'a\nb, "c"'


def test_parquet(tmp_path: Path) -> None:
    assert read(str(parquet(tmp_path, [PAIR, PAIR]))).table.to_pylist() == [PAIR, PAIR]


def test_arrow(tmp_path: Path) -> None:
    import pyarrow
    from datasets import Dataset

    table = pyarrow.Table.from_pylist([PAIR, PAIR])
    with pyarrow.OSFile(str(tmp_path / "file.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as out:
        out.write_table(table)
    Dataset(table).save_to_disk(tmp_path / "saved")
    (stream,) = (tmp_path / "saved").glob("*.arrow")
    for path in (tmp_path / "file.arrow", stream):
        assert read(str(path)).table.to_pylist() == [PAIR, PAIR]
    with pytest.raises(BadData, match=r"cut.arrow is broken"):
        read(written(tmp_path, "cut.arrow", (tmp_path / "file.arrow").read_bytes()[:200]))


def test_messages_in_csv(tmp_path: Path) -> None:
    import csv

    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], *[[json.dumps(ASKED + SAID)]] * 2])
    assert read(str(tmp_path / "d.csv")).table.to_pylist() == [{"messages": ASKED + SAID}] * 2


def test_lines_of_text(tmp_path: Path) -> None:
    assert read(written(tmp_path, "d.txt", "one\n\ntwo\n")).table.to_pylist() == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("name", ["sample/instructions", "sample/evaluation"])
def test_samples_are_good(name: str) -> None:
    shape = data.check(TrainParams(dataset=name), SFT)
    assert shape
    assert shape.name == "prompt-completion, chat"
    assert name in SAMPLES


def test_max_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", PLAIN * 5 + [{"prompt": 1}])
    assert len(read(path, max_rows=3).table) == 3


def test_the_split_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    rows = [{"text": str(i)} for i in range(50)]
    whole = read(written(tmp_path, "d.jsonl", rows)).dataset()
    train, held = data.split(whole, 5, seed=1)
    assert held is not None
    assert sorted([*train["text"], *held["text"]]) == sorted(row["text"] for row in rows)
    assert (len(train), len(held)) == (45, 5)
    again, other = data.split(whole, 5, seed=1)[1], data.split(whole, 5, seed=2)[1]
    assert again is not None
    assert other is not None
    assert again["text"] == held["text"] != other["text"]


def test_a_random_part_is_drawn_with_the_seed(tmp_path: Path) -> None:
    path = written(tmp_path, "d.jsonl", [{"text": str(i)} for i in range(50)])
    drawn = [
        [row["text"] for row in read(path, max_rows=5, pick_rows="random", seed=seed).table.to_pylist()]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5
    assert max(map(int, drawn[0])) > 5


def test_a_share_is_held_out(tmp_path: Path) -> None:
    whole = read(written(tmp_path, "d.jsonl", PLAIN * 20)).dataset()
    assert [len(part or ()) for part in data.split(whole, 0.1, seed=0)] == [36, 4]


def test_at_most_half_is_held_out(tmp_path: Path) -> None:
    whole = read(written(tmp_path, "d.jsonl", PLAIN)).dataset()
    assert [len(part or ()) for part in data.split(whole, 16, seed=0)] == [1, 1]
    assert data.split(whole, 0, seed=0) == (whole, None)


def test_a_look_at_good_data() -> None:
    seen = data.look("sample/instructions", SFT, 3)
    assert seen["columns"] == ["prompt", "completion", "topic"]
    assert (len(seen["rows"]), seen["total"], seen["problem"]) == (3, 504, None)
    assert seen["format"] == "prompt-completion, chat"


def test_a_look_at_bad_data_shows_what_there_is(tmp_path: Path) -> None:
    seen = data.look(written(tmp_path, "d.jsonl", [*PLAIN, {"prompt": 1, "completion": "x"}]), SFT, 2)
    assert (seen["rows"], seen["total"]) == (PLAIN, 3)
    assert seen["problem"]["message"] == "Row 3 of d.jsonl: prompt is 1; it must be text."
    seen = data.look("sample/preferences", SFT)
    assert seen["problem"]["message"] == "sample/preferences is preference data."
    assert seen["columns"] == ["prompt", "chosen", "rejected"]
    assert data.look(written(tmp_path, "e.jsonl", b""), SFT)["problem"]["code"] == "data.empty"


def test_looking_at_a_file_stays_light() -> None:
    import subprocess
    import sys

    program = "import sys; from backend.recipes import METHODS; sft = METHODS['sft']; sft.look('sample/instructions');"
    program += "sft.preflight(sft.params()); print(sorted({'torch', 'datasets', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
