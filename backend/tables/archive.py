"""A zip or a folder: pictures or sounds with what is told about them, or one table in several files.

Nothing is unpacked by its own name: media go straight into Parquet, as `datasets` keeps them ({bytes, path}).
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from backend.errors import BadData
from backend.tables import child
from backend.tables.readers import KINDS, READERS, ZIP_FILES, Given, check_zip, first_line, sniff
from backend.tables.writing import write

IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
SOUNDS = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a"}
TABLES = {".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".txt"}
MEDIA_BYTES = 64 << 20
SIGNS = {
    "image": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*"),
    "audio": (b"RIFF", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"fLaC", b"OggS"),
}


@dataclass(frozen=True)
class Item:
    """One file inside: its path there and a way to its bytes."""

    path: PurePosixPath
    size: int
    home: zipfile.ZipFile | Path

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()

    def open(self) -> IO[bytes]:
        if isinstance(self.home, Path):
            return (self.home / self.path).open("rb")
        return self.home.open(str(self.path))

    def read(self, most: int) -> bytes:
        """Raises BadData when it is larger than `most`, whatever it says of itself."""
        with _whole(self), self.open() as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BadData(f"{self.path} is larger than {most >> 20} MB.", "Leave it out, or make it smaller.")
        return data


@contextlib.contextmanager
def _whole(item: Item) -> Iterator[None]:
    """What a broken or lying zip raises, as BadData."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BadData(f"{item.path} in the zip is broken, or larger than it says.", "Pack it again.") from error


def convert(given: Given, items: Sequence[Item], out: Path, say: child.Say) -> str:
    """Write the items as one table to `out`; gives image, audio or what the tables were."""
    for kind, endings in (("image", IMAGES), ("audio", SOUNDS)):
        media = [item for item in items if item.ending in endings]
        if media:
            others = [item for item in items if item.ending not in endings]
            _write_media(given, kind, media, others, out, say)
            return kind
    tables = [item for item in items if item.ending in TABLES]
    if not tables:
        named = sorted({item.ending or "no ending" for item in items})[:8]
        raise BadData(
            f"{given.name!r} holds nothing that is read here, only {', '.join(named) or 'nothing'}.",
            f"Put in {KINDS}.",
        )
    tables = [item for item in tables if item.ending != ".txt"] or tables  # a readme beside the data
    return _join_tables(given, tables, out, say)


def listed(given: Given) -> list[Item]:
    """What is inside, in order of names; hidden files and those of the packer left out. Raises BadData."""
    if given.path.is_dir():
        files = (path for path in given.path.rglob("*") if path.is_file() and not path.is_symlink())
        items = [Item(PurePosixPath(p.relative_to(given.path).as_posix()), p.stat().st_size, given.path) for p in files]
        if len(items) > ZIP_FILES:
            raise BadData(f"{given.name!r} holds {len(items):,} files; at most {ZIP_FILES:,} are read.", "Split it.")
    else:
        inside = check_zip(given.path, given.name)
        packed = zipfile.ZipFile(given.path)
        items = [Item(PurePosixPath(info.filename), info.file_size, packed) for info in inside]
    kept = [item for item in items if not any(part.startswith((".", "__MACOSX")) for part in item.path.parts)]
    return sorted(kept, key=lambda item: str(item.path))


def _write_media(
    given: Given, kind: str, media: Sequence[Item], others: Sequence[Item], out: Path, say: child.Say
) -> None:
    base = _shared_folder(media)
    told = _metadata(given, others)
    folders = [item.path.parent for item in media]
    labels = sorted({folder.name for folder in folders}) if not told and base not in folders else []
    labels = labels if len(labels) > 1 else []
    fields = [
        pa.field(kind, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        pa.field("file_name", pa.string()),
    ]
    features: dict[str, Any] = {kind: {"_type": kind.capitalize()}}
    if labels:
        fields.append(pa.field("label", pa.int64()))
        features["label"] = {"_type": "ClassLabel", "names": labels}
    extra = told.drop_columns(["file_name"]) if told else None
    if extra is not None:
        fields += [f for f in extra.schema if f.name not in (kind, "file_name")]
    place = {name: i for i, name in enumerate(told.column("file_name").to_pylist())} if told else {}  # whole paths
    missing = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal missing
        for done, (item, folder) in enumerate(zip(media, folders, strict=True)):
            name = str(item.path.relative_to(base))
            data = item.read(MEDIA_BYTES)
            if not data.startswith(SIGNS[kind]) and data[4:8] != b"ftyp":
                given.notes.append(f"{name} is left out: it is not what its ending says.")
                continue
            row: dict[str, Any] = {kind: {"bytes": data, "path": name}, "file_name": name}
            if labels:
                row["label"] = labels.index(folder.name)
            if extra is not None:
                at = place.get(str(item.path))
                missing += at is None
                row |= extra.slice(at, 1).to_pylist()[0] if at is not None else {}
            yield pa.RecordBatch.from_pylist([row], schema=schema)
            say(done + 1, len(media))

    schema = pa.schema(fields, {b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    write(schema, batches(), out, given)
    if missing:
        given.notes.append(f"{missing:,} of {len(media):,} files have no line in the metadata.")


def _shared_folder(items: Sequence[Item]) -> PurePosixPath:
    """The folder that everything lies in, unless its subfolders are all there is to tell pictures apart."""
    base = items[0].path.parent
    while base.parts and not all(item.path.is_relative_to(base) for item in items):
        base = base.parent
    return base


def _metadata(given: Given, others: Sequence[Item]) -> pa.Table | None:
    """Every metadata.csv, .jsonl or .parquet as one table; each names in `file_name` files from its own folder on."""
    tables = []
    for i, item in enumerate(others):
        if item.path.stem != "metadata" or item.ending not in TABLES:
            continue
        table = pq.read_table(_unpacked(given, item, i))
        if "file_name" not in table.column_names:
            raise BadData(f"{item.path} has no column file_name.", "Name in it the file that each line is about.")
        names = pa.array([str(item.path.parent / str(name)) for name in table.column("file_name").to_pylist()])
        tables.append(table.set_column(table.schema.get_field_index("file_name"), "file_name", names))
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else None
    except pa.ArrowException as error:
        raise BadData(
            f"The metadata files of {given.name!r} don't agree: {first_line(error)}", "Give them the same columns."
        ) from error


def _join_tables(given: Given, items: Sequence[Item], out: Path, say: child.Say) -> str:
    files = []
    for i, item in enumerate(items):
        files.append(_unpacked(given, item, i))
        say(i + 1, len(items))
    schemas = [pq.read_schema(file) for file in files]
    for item, other in zip(items[1:], schemas[1:], strict=True):
        if not other.equals(schemas[0]):
            raise BadData(
                f"{given.name!r} holds tables with different columns: {items[0].path} and {item.path}.",
                "Upload them one by one.",
            )
    batches = (batch for file in files for batch in pq.ParquetFile(file).iter_batches(batch_size=5000))
    write(schemas[0], batches, out, given)
    for file in files:
        file.unlink()
    return items[0].ending.removeprefix(".")


def _unpacked(given: Given, item: Item, number: int) -> Path:
    """The item as Parquet, under a name of ours."""
    raw, file = given.scratch / f"item-{number}", given.scratch / f"item-{number}.parquet"
    with _whole(item), item.open() as source, raw.open("wb") as target:
        left = item.size  # a zip may hold more than it says
        while chunk := source.read(min(1 << 20, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise BadData(f"{item.path} is larger than it says.", "Pack the folder again.")
            target.write(chunk)
    inner = Given(raw, item.path.name, given.scratch)
    convert_table(inner, sniff(inner), file)
    given.notes += inner.notes
    raw.unlink()
    return file


def convert_table(given: Given, kind: str, out: Path, say: child.Say = child.silent) -> None:
    """Write one table file to `out`, whole or not at all. Raises BadData."""
    if kind == "zip":
        raise BadData(f"{given.name!r} is a zip inside a zip.", "Unpack it first.")
    schema, batches = READERS[kind](given)
    write(schema, batches, out, given, say)
