"""Files of every kind, read: what a file is, then its schema and its record batches.

What a file is, is read in its bytes; its ending only decides between kinds of plain text.
"""

from __future__ import annotations

import codecs
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from charset_normalizer import from_bytes

from backend.errors import BadData
from backend.tables.table import literal, plain, quoted

BATCH = 5_000  # rows
CELL = 64 << 20  # bytes of one line of text, so of one cell
EXCEL_ROWS = 1 << 20
ZIP_FILES = 100_000
ZIP_BYTES = 4 << 30
ZIP_RATIO = 200
MEDIA = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a")
TEXTS = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_WESTERN = set("àâäáãåçèéêëìîïíñòôöóõøùûüúÿßæœÀÂÄÁÃÅÇÈÉÊËÌÎÏÍÑÒÔÖÓÕØÙÛÜÚŒÆ‘’“”«»–—…€£§°´·¿¡©®")
KINDS = "CSV, TSV, JSON, JSONL, Parquet, Arrow, plain text, Excel (.xlsx) or a zip of images or audio"


@dataclass
class Given:
    """What a person gave: where it is, what they call it, a folder to work in, and notes on what was decided."""

    path: Path
    name: str
    scratch: Path
    notes: list[str] = field(default_factory=list)

    @property
    def ending(self) -> str:
        return Path(self.name).suffix.lower()


def sniff(given: Given) -> str:
    """csv, json, text, excel, parquet, arrow or zip. Raises BadData for anything else."""
    name, ending, notes = given.name, given.ending, given.notes
    if given.path.stat().st_size == 0:
        raise BadData(f"{name!r} is empty.", "Choose a file with at least one row.")
    with given.path.open("rb") as file:
        head = file.read(1 << 16)
    found = ""
    if head.startswith(b"PAR1"):
        found = "parquet"
    elif head.startswith(b"ARROW1") or head.startswith(b"\xff\xff\xff\xff"):
        found = "arrow"
    elif head.startswith(b"PK\x03\x04") or head.startswith(b"PK\x05\x06"):
        found = "excel" if b"[Content_Types].xml" in head or ending == ".xlsx" else "zip"
    elif head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        raise BadData(f"{name!r} is packed.", "Unpack it and upload what is inside, or pack it as .zip.")
    elif head.startswith(b"\xd0\xcf\x11\xe0"):
        raise BadData(f"{name!r} is an old Excel file.", "Save it as .xlsx and upload that.")
    elif head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"ID3", b"fLaC", b"OggS")):
        raise BadData(f"{name!r} is one picture or sound.", "Pack the folder of them as .zip and upload that.")
    if found:
        ours = {"parquet": (".parquet", ".pq"), "arrow": (".arrow", ".feather", ".ipc"), "excel": (".xlsx", ".xlsm")}
        if ending not in ours.get(found, (".zip",)):
            notes.append(f"The name ends in {ending or 'nothing'}, the content is {found}: read as {found}.")
        return found
    if not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in head:
        raise BadData(f"{name!r} is neither text nor a kind of file that is read here.", f"Upload {KINDS}.")
    if ending in (".parquet", ".pq", ".arrow", ".feather", ".xlsx", ".zip", *MEDIA):
        raise BadData(f"{name!r} ends in {ending}, but is not such a file.", f"Upload {KINDS}.")
    first = head.lstrip(codecs.BOM_UTF8 + b" \t\r\n")[:1]
    if TEXTS.get(ending) == "json" and first not in (b"{", b"["):
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "json"
        start = head[:30].decode("utf-8", "replace")
        raise BadData(f"{name!r} ends in {ending}, but begins with {start!r}.", "JSON begins with { or [.")
    if ending in (".csv", ".tsv", ".tab") and first == b"{" and _is_object(head.split(b"\n")[0]):
        notes.append(f"The name ends in {ending}, the content is JSON lines: read as those.")
        return "json"
    return TEXTS.get(ending, "text")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


# -- one reader for each kind: (schema, record batches) ---------------------------------------------------------

Read = tuple[pa.Schema, Iterable[pa.RecordBatch]]


def _database(threads: int = 2) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": "900MB",
            "threads": threads,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "temp_directory": "",
        },
    )


def _select(sql: str, threads: int = 2) -> Read:
    reader: Any = _database(threads).execute(sql).to_arrow_reader(BATCH)
    return reader.schema, reader


def _csv(given: Given) -> Read:
    source = literal(str(_utf8(given)))
    # stricter first; each next way gives up a little more: types of the first rows, small lines, types at all
    more = f", max_line_size = {CELL}, parallel = false"
    ways = ("", ", sample_size = -1", more, more + ", all_varchar = true, null_padding = true")
    delimiter = ", delim = '\t'" if given.ending in (".tsv", ".tab") else ""
    last: duckdb.Error | None = None
    for way in ways:
        if last and "aximum line size" in str(last) and "max_line_size" not in way:
            continue
        sql = f"SELECT * FROM read_csv({source}{delimiter}{way})"
        try:
            # every row is parsed before the first is written: a late bad cell chooses the next way
            _database().execute(f"SELECT count(COLUMNS(*)) FROM ({sql})").fetchall()
            if "all_varchar" in way:
                given.notes.append("The rows don't agree on types: all columns are read as text.")
            return _select(sql)
        except duckdb.Error as error:
            last = error
    raise BadData(f"{given.name!r} can't be read as CSV: {first_line(last)}", "Check its separators and quotes.")


def _json(given: Given) -> Read:
    path = _utf8(given)
    last: Exception = ValueError()
    # an object of many keys stays an object: a map would lose the names of columns
    always = "map_inference_threshold = -1, union_by_name = true"
    for more in ("", ", sample_size = -1", f", sample_size = -1, maximum_object_size = {CELL}"):
        sql = f"SELECT * FROM read_json({literal(str(path))}, {always}{more})"
        threads = 1 if "maximum" in more else 2  # each has buffers for several of the largest lines
        try:
            database = _database(threads)
            database.execute(f"SELECT count(COLUMNS(*)) FROM ({sql})").fetchall()
            # where the rows don't agree on a type the values stay JSON, in which a text has quotes around it
            mixed = [
                quoted(name) for name, type_, *_ in database.execute(f"DESCRIBE {sql}").fetchall() if type_ == "JSON"
            ]
            texts = ", ".join(f"{name} ->> '$' AS {name}" for name in mixed)
            return _select(sql.replace("*", f"* REPLACE ({texts})", 1) if mixed else sql, threads)
        except duckdb.Error as error:
            last = error
    raise BadData(f"{given.name!r} can't be read as JSON: {first_line(last)}", "Check it with a JSON validator.")


def _text(given: Given) -> Read:
    schema = pa.schema([("text", pa.string())])
    path = _utf8(given)

    def batches() -> Iterator[pa.RecordBatch]:
        with path.open(encoding="utf-8", newline="\n") as file:
            lines = (line.rstrip("\r\n") for line in iter(lambda: file.readline(CELL), ""))
            while some := list(itertools.islice(lines, BATCH)):
                yield pa.record_batch([pa.array(some, pa.string())], schema=schema)

    return schema, batches()


def _excel(given: Given) -> Read:
    check_zip(given.path, given.name)
    try:
        book = openpyxl.load_workbook(given.path.open("rb"), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        cells = itertools.islice(sheet.iter_rows(values_only=True), EXCEL_ROWS + 1)
        rows = [row for row in cells if any(cell is not None for cell in row)]
    except Exception as error:  # openpyxl raises whatever a broken workbook leads it to
        raise BadData(
            f"{given.name!r} can't be read as Excel: {first_line(error)}", "Save it again as .xlsx."
        ) from error
    if len(book.worksheets) > 1:
        given.notes.append(f"Only the first sheet is read: {sheet.title}.")
    if len(rows) < 2:
        raise BadData(f"{given.name!r} has no rows below its header.", "Put the names of columns in its first row.")
    width = max(map(len, rows))
    names = [str(cell) if cell is not None else f"column{i}" for i, cell in enumerate(rows[0])]
    names += [f"column{i}" for i in range(len(names), width)]
    columns = [[row[i] if i < len(row) else None for row in rows[1:]] for i in range(width)]
    table = pa.table([array(column) for column in columns], names=names)
    return table.schema, table.to_batches()


def array(values: Sequence[Any]) -> pa.Array:
    """One column of Python values; those that don't agree on a type become text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        if all(value is None or isinstance(value, int | float) for value in values):
            return pa.array([None if value is None else float(value) for value in values])
        return pa.array([None if value is None else str(value) for value in values])


def _parquet(given: Given) -> Read:
    try:
        file = pq.ParquetFile(given.path)
        schema = file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise BadData(
            f"{given.name!r} can't be read as Parquet: {first_line(error)}", "Upload it again whole."
        ) from error
    return schema, file.iter_batches(batch_size=BATCH)


def _arrow(given: Given) -> Read:
    try:
        source = pa.memory_map(str(given.path))
        if source.read(6) == b"ARROW1":
            source.seek(0)
            file = pa.ipc.open_file(source)
            return file.schema, (file.get_batch(i) for i in range(file.num_record_batches))
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema, stream
    except (pa.ArrowException, OSError) as error:
        raise BadData(
            f"{given.name!r} can't be read as Arrow: {first_line(error)}", "Upload it again whole."
        ) from error


def _utf8(given: Given) -> Path:
    """The file itself when it is UTF-8, else a copy that is."""
    with given.path.open("rb") as file:
        head = file.read(4)
        encoding = ""
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        else:
            file.seek(0)
            decoder = codecs.getincrementaldecoder("utf-8")()
            try:
                while chunk := file.read(1 << 20):
                    decoder.decode(chunk)
                decoder.decode(b"", True)
                return given.path
            except UnicodeDecodeError:
                file.seek(0)
                encoding = _guess(file.read(1 << 18))
    given.notes.append(f"Its letters are not UTF-8; read as {encoding}.")
    copy = given.scratch / "utf8"
    with given.path.open(encoding=encoding, errors="replace", newline="") as old, copy.open("w", newline="") as new:
        while text := old.read(1 << 20):
            new.write(text)
    return copy


def _guess(head: bytes) -> str:
    """Western European where nearly all its letters beyond ASCII are common ones there, else what looks likeliest."""
    beyond = [letter for letter in head.decode("cp1252", "replace") if letter > "\x7f"]
    if sum(letter in _WESTERN for letter in beyond) >= 0.95 * len(beyond):
        return "cp1252"
    best = from_bytes(head).best()
    return best.encoding if best else "cp1252"


def first_line(error: object) -> str:
    return plain(str(error)).splitlines()[0][:300] if str(error).strip() else type(error).__name__


READERS: dict[str, Callable[[Given], Read]] = {
    "csv": _csv,
    "json": _json,
    "text": _text,
    "excel": _excel,
    "parquet": _parquet,
    "arrow": _arrow,
}


def check_zip(path: Path, name: str) -> list[zipfile.ZipInfo]:
    """The files in a zip, none of which is a bomb, hidden by a password or aimed outside. Raises BadData."""
    try:
        with zipfile.ZipFile(path) as packed:
            found = [info for info in packed.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise BadData(f"{name!r} is a broken zip: {first_line(error)}", "Pack it again.") from error
    size = sum(info.file_size for info in found)
    if len(found) > ZIP_FILES:
        raise BadData(f"{name!r} holds {len(found):,} files; at most {ZIP_FILES:,} are read.", "Split it.")
    if size > ZIP_BYTES or (size > 64 << 20 and size > ZIP_RATIO * path.stat().st_size):
        raise BadData(
            f"{name!r} would unpack from {path.stat().st_size / 1e6:,.1f} MB to {size / 1e6:,.0f} MB; "
            f"at most {ZIP_RATIO} times and {ZIP_BYTES >> 30} GB are read.",
            "Split it into smaller ones.",
        )
    for info in found:
        parts = re.split(r"[/\\]", info.filename)
        if ".." in parts or not parts[0] or ":" in parts[0] or "\0" in info.orig_filename:
            raise BadData(f"{name!r} names a file outside of itself: {info.filename[:80]!r}.", "Pack the folder again.")
        if info.flag_bits & 1:
            raise BadData(f"{name!r} has a password.", "Pack it without one.")
    return found
