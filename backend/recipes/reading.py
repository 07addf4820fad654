"""Files and Hub datasets as rows. What is wrong with one row comes as `Wrong` in its place; with a file, as BadData.

Files are read here and not by `datasets`, because a person needs the row in which something is wrong. Nothing heavy is
imported for files; a dataset on the Hub takes `datasets`.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from backend.errors import BadData, NotFound
from backend.recipes.loading import hub_errors
from backend.recipes.part import Part
from backend.starter import SAMPLES, locate

Row = dict[str, Any]
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".ndjson", ".tab", ".pq", ".arrow", ".feather")
_IN_DATA = (".xlsx", ".xlsm", ".zip")  # what the Data tab alone reads
_BATCH = 4096  # rows
_MAGIC = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\xff\xff\xff\xff", "an Arrow file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
)
_SHOULD = {
    **dict.fromkeys((".parquet", ".pq"), "a Parquet file"),
    **dict.fromkeys((".arrow", ".feather"), "an Arrow file"),
    **dict.fromkeys((".tsv", ".tab"), "a TSV file"),
    ".csv": "a CSV file",
    ".txt": "plain text",
}


class Wrong(ValueError):
    """What is wrong with one row: `said` goes on from `Row 3 of data.csv`, `rule` is the same for rows alike."""

    def __init__(self, said: str, rule: str) -> None:
        super().__init__(said)
        self.said = said
        self.rule = rule


def is_local(name: str) -> bool:
    """Whether a dataset is a sample or a file here, and not a Hub id."""
    return name in SAMPLES or name.startswith(("/", "~", ".")) or Path(name).is_file()


def short_name(name: str) -> str:
    """A file by its name, without the folder that only the server knows."""
    return Path(name).name if name.startswith(("/", "~", ".")) else name


def rows_of(name: str, split: str = "train", streaming: bool = False) -> Iterator[Row | Wrong]:
    """Rows as they are, read as they are asked for; `streaming` fetches no more of a Hub dataset than is read.

    Raises BadData, NotFound, Gated, HubError.
    """
    if not is_local(name):
        yield from _hub_rows(name, split, streaming)
        return
    path = Path(locate(name)).expanduser()
    ending = path.suffix.lower()
    if path.is_dir():
        raise BadData(f"{short_name(name)} is a folder.", "Name one file in it.", "data.invalid")
    if not path.is_file():
        raise NotFound(f"There is no file {name!r}.", "Check the path or upload the file.", "data.unknown")
    if ending in _IN_DATA:
        raise BadData(
            f"{path.name} ends in {ending}; tuning does not read that.",
            "Open it in Data and save it there as a dataset of yours, then choose that.",
            "data.ending",
        )
    if ending not in ENDINGS:
        raise BadData(
            f"{path.name} ends in {ending or 'nothing'}; that is not read.",
            f"Save it as {', '.join(ENDINGS[:6])}.",
            "data.ending",
        )
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise BadData(f"{path.name} is empty.", "Give a file with rows; training needs at least 2.", "data.empty")
    _is_what_it_says(path, head)
    readers = {"a CSV file": _csv, "a TSV file": _csv, "a Parquet file": _parquet, "an Arrow file": _arrow}
    yield from (readers | {"plain text": _lines}).get(_SHOULD.get(ending, ""), _json)(path)


def _is_what_it_says(path: Path, head: bytes) -> None:
    should = _SHOULD.get(path.suffix.lower(), "JSON")
    really = next((what for magic, what in _MAGIC if head.startswith(magic)), "")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    if not really and start.startswith((b"<!doctype", b"<html", b"<?xml")):
        really = "a web page or XML"
    if not really and b"\0" in head:
        really = "a binary file"
    if should == "a Parquet file" and really == should:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4))
            if file.read() != b"PAR1":
                raise BadData(f"{path.name} is cut off: its end is missing.", "Copy or save it again.", "data.broken")
    if should in ("a Parquet file", "an Arrow file"):
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


def _json(path: Path) -> Iterator[Row | Wrong]:
    """JSON lines, or one array of objects."""
    lines = _text_lines(path)
    begun = next((line for line in lines if line.strip()), "")
    if begun.lstrip().startswith("[") or begun.strip() == "{":
        yield from _json_whole(path)
        return
    loads = json.loads
    for line in _nonempty(itertools.chain([begun], lines)):
        try:
            row = loads(line.strip())
        except ValueError as error:
            yield Wrong(f" is not JSON: {_reason(error)} of {cut(line.strip())}", "not JSON")
        else:
            yield row if isinstance(row, dict) else _no_object(row)


def _json_whole(path: Path) -> Iterator[Row | Wrong]:
    try:
        whole = json.loads("".join(_text_lines(path)))
    except ValueError as error:
        raise BadData(
            f"{path.name} is not JSON: {_reason(error)}.", "Use one object a line, or one array of objects.", "data.row"
        ) from None
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else [whole]
    for row in whole:
        yield row if isinstance(row, dict) else _no_object(row)


def _no_object(row: Any) -> Wrong:
    return Wrong(
        f' is {shown(row)}; it must be an object such as {{"prompt": "…", "completion": "…"}}', "not an object"
    )


def _reason(error: ValueError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _nonempty(lines: Iterable[str]) -> Iterator[str]:
    return (line for line in lines if not line.isspace() and line)


def _csv(path: Path) -> Iterator[Row | Wrong]:
    """The first line names the columns."""
    csv.field_size_limit(1 << 30)
    delimiter = "\t" if _SHOULD[path.suffix.lower()] == "a TSV file" else ","
    table = csv.reader(_text_lines(path), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(table, [])]
        for values in table:
            if not values:
                continue
            number += 1
            if len(values) == len(header):
                yield dict(zip(header, values, strict=True))
            else:
                yield Wrong(f" has {len(values)} values for {len(header)} columns", "not one value a column")
    except csv.Error as error:
        raise BadData(
            f"Row {number + 1} of {path.name} can't be read: {error}.", "Check its quotes.", "data.row"
        ) from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{path.name} is broken: {str(error)[:200]}", "Save it again.", "data.broken") from None


def _arrow(path: Path) -> Iterator[Row]:
    """The file or the stream form; `datasets` writes the second."""
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as file:
            try:
                found = pyarrow.ipc.open_file(file)
                batches = (found.get_batch(place) for place in range(found.num_record_batches))
            except pyarrow.ArrowInvalid:
                batches = iter(pyarrow.ipc.open_stream(file))
            for batch in batches:
                for start in range(0, batch.num_rows, _BATCH):
                    yield from batch.slice(start, _BATCH).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{path.name} is broken: {str(error)[:200]}", "Save it again.", "data.broken") from None


def _lines(path: Path) -> Iterator[Row]:
    return ({"text": line.rstrip("\r\n")} for line in _nonempty(_text_lines(path)))


def _hub_rows(name: str, split: str, streaming: bool) -> Iterator[Row]:
    from datasets import load_dataset

    part = Part.read(name)
    names, keys = part.asked(split)
    with hub_errors(part.name):
        yield from load_dataset(*names, **keys, streaming=streaming)


def shown(value: Any) -> str:
    """A value in at most 40 characters of JSON."""
    return cut(json.dumps(value, ensure_ascii=False, default=str))


def cut(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
