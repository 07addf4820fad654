"""A Table is Parquet files read as one; a Database is the DuckDB that all of them are read through."""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from backend.errors import BadData, BadInput, LabError, NoRoom, NotFound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.uint32]

Kind = Literal["text", "number", "boolean", "time", "label", "chat", "image", "audio", "nested", "bytes", "other"]
ROW = "_row"  # the number of a row in the whole table, from 0
RESERVED = {ROW, "file_row_number"}  # names that no column may have; converting renames them
_NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|BIGNUM)")
_CHAT = re.compile(r"STRUCT\((?=.*\brole VARCHAR)(?=.*\bcontent VARCHAR)[^()]*\)\[\]", re.DOTALL)
_MEDIA = re.compile(r"STRUCT\((bytes BLOB, path VARCHAR|path VARCHAR, bytes BLOB)\)")


@dataclass(frozen=True)
class Column:
    """`type` is DuckDB's; `kind` says how to show it; `names` are a class label's, in order of its numbers."""

    name: str
    type: str
    kind: Kind
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """An opened dataset split.

    `partial` is '' when the files hold the whole split, else what they hold ("the first 5 GB"). `load` is the Python
    expression that gives the same rows with `datasets`. `notes` tell what was decided on the way in.
    """

    name: str
    files: tuple[str, ...]
    counts: tuple[int, ...]  # rows of each file
    columns: tuple[Column, ...]
    folder: Path  # where what is worked out about it is kept
    database: Database = field(repr=False, compare=False)
    partial: str = ""
    load: str = ""
    notes: tuple[str, ...] = ()
    remote: bool = False

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def column(self, name: str) -> Column:
        """Raises NotFound naming the columns there are."""
        for column in self.columns:
            if column.name == name:
                return column
        raise NotFound(
            f"There is no column {name[:60]!r}.",
            f"Choose one of {', '.join(c.name for c in self.columns[:20])}.",
            "column.unknown",
        )

    def pick(self, names: Sequence[str] | None) -> tuple[Column, ...]:
        """The named columns, or all of them."""
        return self.columns if names is None else tuple(self.column(name) for name in names)

    def scan(self, first: int | None = None) -> str:
        """FROM text that gives every column and `_row`; with `first`, of that many first rows alone."""
        names = ", ".join(quoted(column.name) for column in self.columns)
        parts, base = [], 0
        for file, count in zip(self.files, self.counts, strict=True):
            left = count if first is None else min(count, first - base)
            if left <= 0:
                break
            where = f" WHERE file_row_number < {left}" if left < count else ""
            number = f"file_row_number + {base}" if base else "file_row_number"
            parts.append(f"SELECT {names}, {number} AS {ROW} FROM {parquet(file)}{where}")
            base += count
        return f"({' UNION ALL '.join(parts)})"

    def part(self, first: int | None) -> tuple[str, int]:
        """(FROM text, rows in it) of the first rows, or of all."""
        return self.scan(first), min(self.rows, self.rows if first is None else first)


class Database:
    """One in-memory DuckDB with a bounded memory; `ask` may be called from many threads."""

    def __init__(self, memory: str = "300MB", seconds: float = 60, filesystem: Any = None) -> None:
        config: dict[str, Any] = {
            "memory_limit": memory,
            "temp_directory": str(Path(tempfile.gettempdir()) / "atelier-tables"),
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
            "preserve_insertion_order": True,
        }
        self._connection = duckdb.connect(":memory:", config=config)
        self.filesystem = filesystem
        if filesystem is not None:
            self._connection.register_filesystem(filesystem)
        self._connection.execute("SET parquet_metadata_cache = true")
        self._connection.execute(f"SET max_execution_time = {int(seconds * 1000)}")
        self.selections = Selections()

    def ask(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one of our own statements. Raises BadInput, NoRoom, LabError `stopped.time`."""
        with self.cursor() as cursor:
            found: list[tuple[Any, ...]] = cursor.execute(sql, list(params)).fetchall()
            return found

    def numbers(self, sql: str) -> Rows:
        """The one integer column of `sql` as an array."""
        with self.cursor() as cursor:
            column = next(iter(cursor.execute(sql).fetchnumpy().values()))
            return column.astype("uint32")

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._connection.cursor()
        try:
            with duckdb_errors():
                yield cursor
        finally:
            cursor.close()

    def close(self) -> None:
        self._connection.close()


class Selections:
    """The row numbers of filtered or sorted views, the latest used kept, at most `room` bytes of them."""

    def __init__(self, room: int = 96 << 20) -> None:
        self._room = room
        self._kept: OrderedDict[Any, Rows] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any) -> Rows | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Any, rows: Rows) -> None:
        with self._lock:
            self._kept[key] = rows
            while sum(kept.nbytes for kept in self._kept.values()) > self._room:
                self._kept.popitem(last=False)


@contextmanager
def duckdb_errors() -> Iterator[None]:
    """DuckDB's errors as ours, without the places of files."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise NoRoom(
            "This takes more memory than a query may use.",
            "Ask for fewer rows or columns, or add a filter.",
            "no_room.memory",
        ) from error
    except duckdb.InterruptException as error:
        raise LabError(
            "This takes longer than a query may take.", "Ask for fewer rows, or add a filter.", "stopped.time"
        ) from error
    except duckdb.Error as error:
        raise BadInput(plain(str(error)), "Change the query and run it again.", "sql.invalid") from error


def plain(message: str) -> str:
    """DuckDB's message without paths and without its advice on settings."""
    message = message.partition("\n\n")[0].partition("Possible solutions")[0]
    message = re.sub(r"""(["'])(?:/|[a-z0-9]+://)[^"']*\1""", "the file", message)
    return re.sub(r"(?:[a-z0-9]+:/)?(?<![\w<])(?:/[^\s/\"',;:]+){2,}", "the file", message).strip()[:600]


def quoted(name: str) -> str:
    """An identifier as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def parquet(*files: str) -> str:
    """The table function that reads them and numbers the rows of each."""
    # `*?[` in a name would be read as a pattern
    safe = [literal(re.sub(r"([*?\[])", r"[\1]", file)) for file in files]
    return f"read_parquet([{', '.join(safe)}], file_row_number = true)"


def described(database: Database, file: str, metadata: dict[bytes, bytes] | None) -> tuple[Column, ...]:
    """The columns of a Parquet file; `metadata` is its schema's, in which `datasets` tells of labels and media."""
    features = features_of(metadata)
    found = []
    for name, type_, *_ in database.ask(f"DESCRIBE SELECT * EXCLUDE file_row_number FROM {parquet(file)}"):
        how, names = kind(type_, features.get(name))
        found.append(Column(name, type_, how, names))
    return tuple(found)


def over(name: str, files: Sequence[Path], folder: Path, database: Database, **more: Any) -> Table:
    """A Table over Parquet files on this machine. Raises BadData."""
    try:
        counts = tuple(pq.ParquetFile(file).metadata.num_rows for file in files)
        metadata = pq.read_schema(files[0]).metadata
    except (pa.ArrowException, OSError) as error:
        raise BadData(f"{name!r} can't be read as Parquet.", "Upload it again.") from error
    paths = tuple(map(str, files))
    return Table(name, paths, counts, described(database, paths[0], metadata), folder, database, **more)


def features_of(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """{column: what `datasets` wrote of it}; empty when it wrote nothing."""
    try:
        told = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): feature for name, feature in told.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def kind(type_: str, feature: dict[str, Any] | None) -> tuple[Kind, tuple[str, ...]]:
    """How a column of DuckDB's `type_` is shown; `feature` is what `datasets` wrote of it."""
    type_ = type_.replace('"', "")
    match (feature or {}).get("_type"):
        case "ClassLabel":
            return "label", tuple(map(str, feature.get("names", ())))  # type: ignore[union-attr]
        case "Image" if _MEDIA.fullmatch(type_):
            return "image", ()
        case "Audio" if _MEDIA.fullmatch(type_):
            return "audio", ()
    if type_ == "VARCHAR":
        return "text", ()
    if type_ == "BOOLEAN":
        return "boolean", ()
    if _NUMBER.fullmatch(type_):
        return "number", ()
    if type_.startswith(("TIMESTAMP", "DATE", "TIME")):
        return "time", ()
    if _CHAT.fullmatch(type_):
        return "chat", ()
    if type_ == "BLOB":
        return "bytes", ()
    if type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION", "JSON", "VARIANT")):
        return "nested", ()
    return "other", ()
