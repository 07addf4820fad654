"""Training data: reading it, telling its format, checking every row, bringing it into TRL's form.

    format              columns                               becomes
    prompt-completion   prompt, completion                    itself; each text, or a list of messages
    messages            messages                              itself
    text                text                                  itself
    Alpaca              instruction, output, maybe input      prompt and completion as messages
    ShareGPT            conversations ({from, value})         messages

Files are read here and not by `datasets`, because a person needs the row in which something is wrong. Rows are counted
from 1. Nothing heavy is imported for files; a dataset on the Hub takes `datasets`.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadData, NotFound
from backend.recipes.loading import hub_errors
from backend.starter import SAMPLES, locate

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

Row = dict[str, Any]
LEAST = 2  # rows; one to learn from alone teaches nothing
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant"}
ROLES |= {"system": "system", "tool": "tool"}
_CHUNK = 4096  # rows brought into their form at a time
_MAGIC = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)


@dataclass(frozen=True)
class Format:
    """What a dataset was recognised as. `convert(row)` gives its columns in TRL's form or raises _Wrong."""

    name: str
    columns: tuple[str, ...]
    chat: bool
    convert: Callable[[Row], Row]


class _Wrong(ValueError):
    """What is wrong with a row, as the rest of a sentence."""


# -- formats ----------------------------------------------------------------------------------------------------


def recognise(row: Row, name: str) -> Format:
    """The format of a dataset by its first row. Raises BadData that lists the columns."""
    has = row.keys()
    if {"prompt", "completion"} <= has:
        if isinstance(row["prompt"], list):
            return Format("prompt-completion, chat", ("prompt", "completion"), True, _chat_pair)
        return Format("prompt-completion, text", ("prompt", "completion"), False, _text_pair)
    if "messages" in has:
        return Format("messages", ("messages",), True, lambda row: {"messages": _messages(row, "messages", True)})
    if {"instruction", "output"} <= has:
        return Format("Alpaca", ("prompt", "completion"), True, _alpaca)
    if "conversations" in has:
        return Format("ShareGPT", ("messages",), True, lambda row: {"messages": _messages(row, "conversations", True)})
    if "text" in has:
        return Format("text", ("text",), False, lambda row: {"text": _text(row, "text")})
    found = ", ".join(sorted(map(str, has))) or "none"
    missing = {"prompt": "completion", "completion": "prompt", "instruction": "output"}
    lacks = next((f"The column {missing[one]!r} is missing. " for one in missing if one in has), "")
    raise BadData(
        f"{lacks}{short_name(name)} has the columns {found}.",
        "Fine-tuning needs prompt and completion, or messages, or text, or instruction and output, or conversations.",
        "data.columns",
    )


def _text(row: Row, column: str, empty: bool = False) -> str:
    value = row.get(column)
    if value is None:
        raise _Wrong(f"{column} is missing")
    if not isinstance(value, str):
        raise _Wrong(f"{column} is {_shown(value)}; it must be text")
    if not empty and not value.strip():
        raise _Wrong(f"{column} is empty")
    return value


def _text_pair(row: Row) -> Row:
    return {"prompt": _text(row, "prompt"), "completion": _text(row, "completion")}


def _chat_pair(row: Row) -> Row:
    completion = _messages(row, "completion", True)
    if any(message["role"] == "user" for message in completion):
        raise _Wrong("completion has a user's message; it must be the assistant's")
    return {"prompt": _messages(row, "prompt", False), "completion": completion}


def _alpaca(row: Row) -> Row:
    more = _text(row, "input", empty=True) if row.get("input") is not None else ""
    question = "\n\n".join(part for part in (_text(row, "instruction"), more) if part)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": _text(row, "output")}],
    }


def _messages(row: Row, column: str, answered: bool) -> list[Row]:
    """Messages of `column`, in either spelling; at least one, and an assistant's among them where `answered`."""
    value = row.get(column)
    if value is None:
        raise _Wrong(f"{column} is missing")
    if not isinstance(value, list):
        raise _Wrong(f"{column} is {_shown(value)}; it must be a list of messages")
    if not value:
        raise _Wrong(f"{column} is empty")
    found = []
    for place, message in enumerate(value, 1):
        if not isinstance(message, dict):
            raise _Wrong(f"message {place} of {column} is {_shown(message)}; it must have role and content")
        role = message.get("role") or message.get("from")
        content = message["content"] if "content" in message else message.get("value")
        if not isinstance(role, str) or role not in ROLES:
            raise _Wrong(f"message {place} of {column} has the role {_shown(role)}; use system, user or assistant")
        if not isinstance(content, str):
            raise _Wrong(f"message {place} of {column} has the content {_shown(content)}; it must be text")
        if not content.strip() and ROLES[role] != "system":
            raise _Wrong(f"message {place} of {column} is empty")
        found.append({"role": ROLES[role], "content": content})
    if answered and not any(message["role"] == "assistant" for message in found):
        raise _Wrong(f"{column} has no answer by the assistant")
    return found


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


# -- the whole --------------------------------------------------------------------------------------------------


def load(name: str, split: str, max_rows: int = 0) -> tuple[Dataset, Format]:
    """A dataset in TRL's form, every row checked. Raises BadData, NotFound, Gated, HubError."""
    import pyarrow
    from datasets import Dataset

    rows, form = begin(name, split)
    fields = _fields(form)
    batches = [
        pyarrow.RecordBatch.from_pylist(part, schema=fields)
        for part in _chunks(checked(rows, form, name, max_rows), _CHUNK)
    ]
    return Dataset(pyarrow.Table.from_batches(batches, schema=fields)), form


def check(name: str, split: str = "train", max_rows: int = 0) -> Format:
    """Check every row of a file; of a dataset on the Hub nothing. Raises BadData, NotFound."""
    rows, form = begin(name, split)
    for _ in checked(rows, form, name, max_rows):
        pass
    return form


def look(name: str, limit: int = 20) -> dict[str, Any]:
    """{columns, rows, total, format, problem} of a dataset; see `Method.look`. Raises NotFound, Gated, HubError."""
    first: list[Row] = []
    total: int | None = None
    words, problem = "", None
    try:
        rows = rows_of(name, "train", streaming=True)
        first = list(itertools.islice(rows, limit))
        total = len(first) + sum(1 for _ in rows) if is_local(name) else None if len(first) == limit else len(first)
        _enough(total, name)
        form = recognise(first[0], name)
        words = form.name
        for _ in checked(rows_of(name, "train") if is_local(name) else iter(first), form, name):
            pass
    except BadData as error:
        problem = {"code": error.code, "message": error.message, "hint": error.hint}
    columns = list(dict.fromkeys(str(column) for row in first for column in row))
    return {"columns": columns, "rows": first, "total": total, "format": words, "problem": problem}


def split(whole: Dataset, eval_rows: int, seed: int) -> tuple[Dataset, Dataset | None]:
    """(train, held out): `eval_rows` random rows, at most half of all, are held out; none when it is 0."""
    held = min(eval_rows, len(whole) // 2)
    if not held:
        return whole, None
    parts = whole.train_test_split(test_size=held, seed=seed)
    return parts["train"], parts["test"]


def begin(name: str, split: str = "train") -> tuple[Iterator[Row], Format]:
    """All rows and the format that the first one tells. Raises BadData where there are none."""
    rows = rows_of(name, split)
    first = next(rows, {})
    _enough(0 if not first else None, name)
    return itertools.chain([first], rows), recognise(first, name)


def checked(rows: Iterator[Row], form: Format, name: str, max_rows: int = 0) -> Iterator[Row]:
    """Each row in TRL's form. Raises BadData that names the first wrong row, or says that there are too few."""
    number = 0
    for number, row in enumerate(itertools.islice(rows, max_rows or None), 1):
        try:
            yield form.convert(row)
        except _Wrong as wrong:
            raise BadData(
                f"Row {number} of {short_name(name)}: {wrong}.", f"Correct or remove row {number}.", "data.row"
            ) from None
    _enough(number, name)


def _enough(total: int | None, name: str) -> None:
    if total == 0:
        raise BadData(f"{short_name(name)} has no rows.", f"Training needs at least {LEAST}.", "data.empty")
    if total is not None and total < LEAST:
        raise BadData(f"{short_name(name)} has {total} row.", f"Training needs at least {LEAST}.", "data.few")


def _fields(form: Format) -> pyarrow.Schema:
    import pyarrow

    message = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
    return pyarrow.schema([(name, pyarrow.list_(message) if form.chat else pyarrow.string()) for name in form.columns])


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


# -- reading ----------------------------------------------------------------------------------------------------


def is_local(name: str) -> bool:
    """Whether a dataset is a sample or a file here, and not a Hub id."""
    return name in SAMPLES or name.startswith(("/", "~", ".")) or Path(name).is_file()


def rows_of(name: str, split: str = "train", streaming: bool = False) -> Iterator[Row]:
    """Rows as they are, read as they are asked for; `streaming` fetches no more of a Hub dataset than is read.

    Raises BadData, NotFound, Gated, HubError.
    """
    if not is_local(name):
        yield from _hub_rows(name, split, streaming)
        return
    path = Path(locate(name)).expanduser()
    if path.is_dir():
        raise BadData(f"{short_name(name)} is a folder.", "Name one file in it.", "data.invalid")
    if not path.is_file():
        raise NotFound(f"There is no file {name!r}.", "Check the path or upload the file.", "data.unknown")
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BadData(
            f"{path.name} ends in {ending or 'nothing'}; that is not read.",
            f"Save it as {', '.join(ENDINGS)}.",
            "data.ending",
        )
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise BadData(f"{path.name} is empty.", f"Training needs at least {LEAST} rows.", "data.empty")
    _is_what_it_says(path, head)
    readers = {".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".txt": _lines}
    yield from readers.get(ending, _json)(path)


def _is_what_it_says(path: Path, head: bytes) -> None:
    wanted = {".parquet": "a Parquet file", ".csv": "a CSV file", ".tsv": "a TSV file", ".txt": "plain text"}
    should = wanted.get(path.suffix.lower(), "JSON")
    really = next((what for magic, what in _MAGIC if head.startswith(magic)), "")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if not really and start.startswith((b"<!doctype", b"<html", b"<?xml")):
        really = "a web page or XML"
    if not really and b"\0" in head:
        really = "a binary file"
    if should == "a Parquet file":
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4))
            whole = file.read() == b"PAR1"
        if really == should and not whole:
            raise BadData(f"{path.name} is cut off: its end is missing.", "Copy or save it again.", "data.broken")
        really = really or "something else"
    if really and really != should:
        raise BadData(
            f"{path.name} is {really}, not {should}.",
            "Give it its own ending, or save it in the form that its ending says.",
            "data.ending",
        )


def _text_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from file
    except UnicodeDecodeError:
        raise BadData(
            f"Line {_undecodable(path)} of {path.name} is not UTF-8 text.", "Save the file as UTF-8.", "data.encoding"
        ) from None


def _undecodable(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _json(path: Path) -> Iterator[Row]:
    """JSON lines, or one array of objects."""
    lines = _text_lines(path)
    begun = next((line for line in lines if line.strip()), "")
    if begun.lstrip().startswith("[") or begun.strip() == "{":
        yield from _json_whole(path)
        return
    for number, line in enumerate(_nonempty(itertools.chain([begun], lines)), 1):
        try:
            row = json.loads(line.strip())
        except ValueError as error:
            raise BadData(
                f"Row {number} of {path.name} is not JSON: {_reason(error)} of {_cut(line.strip())}",
                f"Correct row {number}; each line must be one object.",
                "data.row",
            ) from None
        yield _object(row, number, path)


def _json_whole(path: Path) -> Iterator[Row]:
    try:
        whole = json.loads("".join(_text_lines(path)))
    except ValueError as error:
        raise BadData(
            f"{path.name} is not JSON: {_reason(error)}.", "Use one object a line, or one array of objects.", "data.row"
        ) from None
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else [whole]
    for number, row in enumerate(whole, 1):
        yield _object(row, number, path)


def _object(row: Any, number: int, path: Path) -> Row:
    if not isinstance(row, dict):
        raise BadData(
            f"Row {number} of {path.name} is {_shown(row)}; it must be an object such as "
            '{"prompt": "…", "completion": "…"}.',
            f"Correct row {number}.",
            "data.row",
        )
    return row


def _reason(error: ValueError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _nonempty(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if line.strip())


def _csv(path: Path) -> Iterator[Row]:
    """The first line names the columns."""
    csv.field_size_limit(1 << 30)
    table = csv.reader(_text_lines(path), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(table, [])]
        for values in table:
            if not values:
                continue
            number += 1
            if len(values) != len(header):
                raise BadData(
                    f"Row {number} of {path.name} has {len(values)} values for {len(header)} columns.",
                    f"Correct row {number}; quote values that hold a comma, quote or line break.",
                    "data.row",
                )
            yield dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise BadData(
            f"Row {number + 1} of {path.name} can't be read: {error}.", "Check its quotes.", "data.row"
        ) from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_CHUNK):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{path.name} is broken: {str(error)[:200]}", "Save it again.", "data.broken") from None


def _lines(path: Path) -> Iterator[Row]:
    return ({"text": line.rstrip("\r\n")} for line in _nonempty(_text_lines(path)))


def _hub_rows(name: str, split: str, streaming: bool) -> Iterator[Row]:
    from datasets import load_dataset

    with hub_errors(name):
        yield from load_dataset(name, split=split, streaming=streaming)


def short_name(name: str) -> str:
    """A file by its name, without the folder that only the server knows."""
    return Path(name).name if name.startswith(("/", "~", ".")) else name
