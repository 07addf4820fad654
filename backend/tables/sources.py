"""From the name of a dataset to a Table: uploads and own files through Parquet in the data folder, samples, the Hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections import OrderedDict, defaultdict
from dataclasses import asdict, replace
from pathlib import Path

from backend.errors import BadData, BadInput, NotFound
from backend.starter import SAMPLES
from backend.store import room, write
from backend.tables import child, hub
from backend.tables.table import Column, Database, Table, over

CONVERT = child.Limits(seconds=1800, memory=4 << 30, file=16 << 30, nice=5, hint="Split the file into smaller ones.")
UPLOAD = 4 << 30  # bytes of a file that is taken in
KEPT = 30 << 30  # bytes of converted files, indexes and parts of Hub datasets that are kept
REMOTE, FRESH = 8, 300.0  # Hub tables kept open, and for how many seconds


class Tables:
    """What has been opened, and what was worked out about it, below `folder` (the data folder's `tables`)."""

    def __init__(self, folder: Path, database: Database | None = None) -> None:
        self.folder = folder
        self.database = database or Database()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._remote: OrderedDict[tuple[str | None, ...], tuple[float, Table]] = OrderedDict()

    def open(
        self,
        place: str,
        config: str = "",
        split: str = "",
        revision: str = "",
        token: str | None = None,
        in_place: bool = False,
        say: child.Say = child.silent,
        stop: threading.Event | None = None,
    ) -> Table:
        """`place` is what `Catalog.dataset` gives: a sample id, a path, or a Hub id.

        `in_place` reads a Parquet file of one's own where it lies instead of taking it in; not for strangers' files.
        Raises BadData for what can't be read, NotFound, HubError, Gated, NoRoom.
        """
        if place in SAMPLES:
            return self._local(SAMPLES[place], place, False, say, stop)
        path = Path(place)
        if path.is_absolute():
            return self._local(path, path.name, in_place, say, stop)
        key = (place, config, split, revision, token)
        at, table = self._remote.get(key, (0.0, None))
        if table is None or time.monotonic() - at > FRESH:
            table = self._on_hub(place, config, split, revision, token, say, stop)
            self._remote[key] = (time.monotonic(), table)
            while len(self._remote) > REMOTE:
                self._remote.popitem(last=False)
        return table

    def _on_hub(
        self,
        name: str,
        config: str,
        split: str,
        revision: str,
        token: str | None,
        say: child.Say,
        stop: threading.Event | None,
    ) -> Table:
        found = hub.listing(name, revision, token)
        if not found.raw:
            return hub.open_split(self.folder, name, config, split, found, token, say)
        config, split = found.pick(name, config, split)
        folder = self.folder / f"{hub.key(name, config, split, found.commit)}-files"
        path, partial = hub.fetch(folder, name, found.files[config, split], token, say)
        table = self._local(path, name, False, say, stop)
        return replace(table, partial=partial, load=hub.loading(name, config, split, found.commit))

    def cached(self, name: str, config: str = "", split: str = "", revision: str = "") -> Table | None:
        """A Hub dataset as this machine's Hugging Face cache holds it; None when it holds nothing of it."""
        if (there := hub.cached(name, revision)) is None:
            return None
        folder, found = there
        config, split = found.pick(name, config, split)
        files = [folder / path for path in found.files[config, split]]
        kept = self.folder / hub.key(name, config, split, f"cached {found.commit}")
        load, told = hub.loading(name, config, split, found.commit), ("Read from this machine's cache.",)
        if found.raw or len(files) == 1:
            partial = f"the first of {len(files)} files" if len(files) > 1 else ""
            table = self._local(files[0], files[0].name, not found.raw, child.silent, None)
            return replace(table, name=name, load=load, partial=partial, notes=(*table.notes, *told))
        return over(name, files, kept, self.database, load=load, notes=told)

    def _local(self, path: Path, name: str, in_place: bool, say: child.Say, stop: threading.Event | None) -> Table:
        if not path.exists():
            raise NotFound(f"There is no file {name[:80]!r} any more.", "Upload it again.", "data.unknown")
        folder = self.folder / _key(path, in_place)
        with self._locks[folder.name]:
            if not (folder / "source.json").exists():
                self._convert(path, folder, in_place, say, stop)
        os.utime(folder)  # it is in use
        told = json.loads((folder / "source.json").read_text())
        file = folder / told["file"]  # an absolute one stays as it is
        if "columns" not in told:
            made = over(name, [file], folder, self.database)
            told |= {"rows": made.rows, "columns": [asdict(column) for column in made.columns]}
            write(folder / "source.json", told)
        columns = tuple(Column(c["name"], c["type"], c["kind"], tuple(c["names"])) for c in told["columns"])
        load = loading(path, name, told["kind"])
        notes = tuple(told["notes"])
        return Table(name, (str(file),), (told["rows"],), columns, folder, self.database, load=load, notes=notes)

    def _convert(self, path: Path, folder: Path, in_place: bool, say: child.Say, stop: threading.Event | None) -> None:
        name, size = path.name, path.stat().st_size
        if size > UPLOAD and not in_place:
            raise BadData(
                f"{name!r} has {size / 1e9:.1f} GB; at most {UPLOAD >> 30} GB are taken in.",
                "Split it into smaller ones.",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with room(self.folder, size), tempfile.TemporaryDirectory(dir=self.folder, prefix="new-") as new:
            request = {"path": str(path), "name": name, "out": f"{new}/data.parquet", "in_place": in_place}
            told = child.run("backend.tables.convert", request, CONVERT, say, stop)
            if Path(told["file"]).is_relative_to(new):
                told["file"] = "data.parquet"
            (Path(new) / "source.json").write_text(json.dumps(told | {"source": str(path)}))
            for left in Path(new).iterdir():
                if left.name not in ("data.parquet", "source.json"):
                    left.unlink()
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(new, folder, copy_function=os.link)

    def nearby(self, table: Table, say: child.Say = child.silent) -> Table:
        """The table itself when it is here; of a remote one a first part brought here, which says that it is one."""
        if not table.remote:
            return table
        files, partial = hub.near(table, say)
        return over(table.name, files, table.folder, self.database, partial=partial, load=table.load)

    def sweep(self) -> None:
        """Let go of what was worked out about files that are gone, then of what was not used for longest."""
        sizes: list[tuple[float, int, Path]] = []
        for folder in self.folder.glob("*"):
            if not folder.is_dir() or folder.name.startswith(("new-", "shape-")):
                continue
            told = folder / "source.json"
            source = json.loads(told.read_text()).get("source", "") if told.exists() else ""
            if source and not Path(source).exists():
                shutil.rmtree(folder, ignore_errors=True)
                continue
            files = [file.stat() for file in folder.rglob("*") if file.is_file()]
            sizes.append((folder.stat().st_mtime, sum(file.st_size for file in files), folder))
        left = sum(size for _, size, _ in sizes) - KEPT
        for _, size, folder in sorted(sizes):
            if left <= 0:
                break
            shutil.rmtree(folder, ignore_errors=True)
            left -= size

    def close(self) -> None:
        self.database.close()
        for _, table in self._remote.values():
            table.database.close()


def loading(path: Path, name: str, kind: str) -> str:
    """The expression with which `datasets` loads the same file."""
    builder = {
        "csv": "csv",
        "tsv": "csv",
        "json": "json",
        "jsonl": "json",
        "parquet": "parquet",
        "arrow": "arrow",
        "text": "text",
        "txt": "text",
        "image": "imagefolder",
        "audio": "audiofolder",
    }.get(kind)
    if builder is None:
        return f"Dataset.from_pandas(pandas.read_excel({json.dumps(path.name, ensure_ascii=False)}))"
    more = ', sep="\\t"' if path.suffix.lower() in (".tsv", ".tab") else ""
    return f'load_dataset("{builder}", data_files={json.dumps(path.name, ensure_ascii=False)}{more}, split="train")'


def _key(path: Path, in_place: bool) -> str:
    """Changes when the file does."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    if len(files) > 200_000:
        raise BadInput(f"{path.name!r} holds {len(files):,} files.", "Choose a smaller folder.")
    seen = hashlib.sha256(f"1 {path} {in_place}".encode())
    for file in files:
        stat = file.stat()
        seen.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return seen.hexdigest()[:24]
