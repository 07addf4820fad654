"""What is remembered: a SQLite registry (runs, queue, uploads) and one folder per run.

    home/atelier.db              who asked for what, and who waits
    home/runs/ID/job.json        the request            process.json  who works on it
    home/runs/ID/params.json     what the recipe reads   stop          its owner's wish to stop
    home/runs/ID/events.jsonl    all that happened       adapter/ …    what it made
    home/uploads/ID/NAME         a visitor's file

Safe for several processes: SQLite in WAL mode, a connection per call, files replaced whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backend.errors import BadInput, HomeInUse, LabError, NoRoom, NotFound
from backend.jobs import Job, Run

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, recipe TEXT NOT NULL, target TEXT NOT NULL, params TEXT NOT NULL,
    created REAL NOT NULL, parent TEXT NOT NULL DEFAULT '', sweep TEXT NOT NULL DEFAULT '',
    summary TEXT, summary_size INTEGER NOT NULL DEFAULT -1  -- a cache of the fold, true while the log has this size
);
CREATE INDEX IF NOT EXISTS runs_of_owner ON runs (owner, created DESC);
CREATE TABLE IF NOT EXISTS queue (
    place INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL UNIQUE, device TEXT NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL
);
"""
_RESERVE = 64 * 1024  # bytes set aside in each run's folder so that a full disk can still be told


class Store:
    """The registry below `home`. Raises NoRoom when the disk is full or the folder can't be written."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with room(home):
            (home / "runs").mkdir(parents=True, exist_ok=True)
            (home / "uploads").mkdir(exist_ok=True)
            with self._db() as db:
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_SCHEMA)
                if "sweep" not in {row["name"] for row in db.execute("PRAGMA table_info(runs)")}:  # of an older version
                    db.execute("ALTER TABLE runs ADD COLUMN sweep TEXT NOT NULL DEFAULT ''")

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self.home / "atelier.db", timeout=20, isolation_level=None)
        db.row_factory = sqlite3.Row
        try:
            db.execute("PRAGMA synchronous=NORMAL")
            yield db
        finally:
            db.close()

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock `name` among all processes of this home; the kernel lets go when the holder dies."""
        with (self.home / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # -- runs ---------------------------------------------------------------------------------------------------

    def add(self, job: Job, params: dict[str, Any], parent: str = "") -> Run:
        """Register `job`; `params` is what the recipe will read (names already resolved to places)."""
        created = time.time()
        with room(self.home):
            run = self._folder(job, created, parent)
            write(run.folder / "job.json", {"id": run.id, "created": created, "parent": parent, **asdict(job)})
            write(run.folder / "params.json", params)
            (run.folder / "reserve").write_bytes(b"\0" * _RESERVE)
            with self._db() as db:
                db.execute(
                    "INSERT INTO runs (id, owner, recipe, target, params, created, parent, sweep) "
                    "VALUES (?,?,?,?,?,?,?,?)",
                    (run.id, job.owner, job.recipe, job.target, json.dumps(job.params), created, parent, job.group),
                )
        return run

    def _folder(self, job: Job, created: float, parent: str) -> Run:
        for length in (4, 4, 4, 6, 8, 12):
            name = secrets.token_hex(length)[:length]
            folder = self.home / "runs" / name
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return Run(name, job, folder, created, parent)
        raise LabError("No free run id was found.", "Try again.")

    def retarget(self, run: Run, target: str) -> Run:
        """The run, which is in nobody's line now, as one for another target."""
        job = replace(run.job, target=target)
        with room(self.home):
            self.leave(run.id)
            about = {"id": run.id, "created": run.created, "parent": run.parent, **asdict(job)}
            write(run.folder / "job.json", about)
            with self._db() as db:
                db.execute("UPDATE runs SET target = ? WHERE id = ?", (target, run.id))
        return replace(run, job=job)

    def take_in(self, run: Run) -> None:
        """Register a run whose folder came back from elsewhere, if it isn't yet."""
        job = run.job
        with self._db() as db:
            db.execute(
                "INSERT OR IGNORE INTO runs (id, owner, recipe, target, params, created, parent, sweep) "
                "VALUES (?,?,?,?,?,?,?,?)",
                (run.id, job.owner, job.recipe, job.target, json.dumps(job.params), run.created, run.parent, job.group),
            )

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        with self._db() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise NotFound(f"There is no run {run_id[:40]!r}.", "Open it from the Runs list.", "run.unknown")
        return self._run(row)

    def runs(self, owner: str, limit: int = 50, offset: int = 0, recipe: str = "") -> list[Run]:
        """The owner's runs, newest first; of one recipe or of all."""
        with self._db() as db:
            rows = db.execute(
                "SELECT * FROM runs WHERE owner = ? AND ? IN ('', recipe) ORDER BY created DESC, rowid DESC "
                "LIMIT ? OFFSET ?",
                (owner, recipe, limit, offset),
            ).fetchall()
        return [self._run(row) for row in rows]

    def grouped(self, group: str, owner: str) -> list[Run]:
        """The owner's runs of a sweep, in the order of their making."""
        with self._db() as db:
            rows = db.execute(
                "SELECT * FROM runs WHERE sweep = ? AND owner = ? ORDER BY rowid", (group, owner)
            ).fetchall()
        return [self._run(row) for row in rows if group]

    def count(self, owner: str) -> int:
        with self._db() as db:
            return int(db.execute("SELECT count(*) FROM runs WHERE owner = ?", (owner,)).fetchone()[0])

    def _run(self, row: sqlite3.Row) -> Run:
        job = Job(row["recipe"], json.loads(row["params"]), row["target"], row["owner"], row["sweep"])
        return Run(row["id"], job, self.home / "runs" / row["id"], row["created"], row["parent"])

    def summaries(self, run_ids: Sequence[str]) -> dict[str, tuple[dict[str, Any], int]]:
        """The remembered folds of ended runs, each with the log size it holds for; in one query."""
        marks = ",".join("?" * len(run_ids))
        with self._db() as db:
            rows = db.execute(
                f"SELECT id, summary, summary_size FROM runs WHERE summary IS NOT NULL AND id IN ({marks})", run_ids
            ).fetchall()
        return {row["id"]: (json.loads(row["summary"]), row["summary_size"]) for row in rows}

    def remember(self, summaries: Mapping[str, tuple[dict[str, Any], int]]) -> None:
        """Keep the folds of ended runs, each with its log's size, in one transaction."""
        with self._db() as db:
            db.execute("BEGIN")
            db.executemany(
                "UPDATE runs SET summary = ?, summary_size = ? WHERE id = ?",
                [(json.dumps(summary), size, run_id) for run_id, (summary, size) in summaries.items()],
            )
            db.execute("COMMIT")

    # -- queue --------------------------------------------------------------------------------------------------

    def enqueue(self, run: Run, device: str) -> None:
        """Put `run` at the end of the device's line. A run is in a line once."""
        run.stop_file.unlink(missing_ok=True)
        (run.folder / "process.json").unlink(missing_ok=True)
        with self._db() as db:
            db.execute("INSERT OR IGNORE INTO queue (run, device) VALUES (?, ?)", (run.id, device))

    def line(self, device: str | None = None) -> list[tuple[str, bool]]:
        """(run id, taken) in order; of one device or of all."""
        with self._db() as db:
            rows = db.execute(
                "SELECT run, taken FROM queue WHERE ? IS NULL OR device = ? ORDER BY place", (device, device)
            ).fetchall()
        return [(row["run"], bool(row["taken"])) for row in rows]

    def swap(self, one: str, other: str) -> None:
        """Two runs that wait in a line change places."""
        with self._db() as db:
            db.execute("BEGIN IMMEDIATE")
            places = {
                row["run"]: row["place"]
                for row in db.execute("SELECT run, place FROM queue WHERE run IN (?, ?) AND NOT taken", (one, other))
            }
            if len(places) == 2:
                db.execute("UPDATE queue SET place = -1 WHERE run = ?", (one,))
                db.execute("UPDATE queue SET place = ? WHERE run = ?", (places[one], other))
                db.execute("UPDATE queue SET place = ? WHERE run = ?", (places[other], one))
            db.execute("COMMIT")

    def take(self, run_id: str, taken: bool = True) -> None:
        with self._db() as db:
            db.execute("UPDATE queue SET taken = ? WHERE run = ?", (int(taken), run_id))

    def leave(self, run_id: str) -> bool:
        """Out of the line. True when it was in one."""
        with self._db() as db:
            return db.execute("DELETE FROM queue WHERE run = ?", (run_id,)).rowcount > 0

    # -- uploads ------------------------------------------------------------------------------------------------

    def upload(self, owner: str, source: Path, name: str) -> str:
        """Copy a file in; returns its id `upload/ID/NAME`. The name is reduced to a plain file name."""
        safe = "".join(c if c.isalnum() or c in "._- " else "_" for c in Path(name).name).strip(". ")[-100:]
        if not safe:
            raise BadInput(f"The file name {name[:60]!r} has no usable letters.", "Rename the file and try again.")
        key = secrets.token_hex(8)
        folder = self.home / "uploads" / key
        with room(self.home, source.stat().st_size):
            folder.mkdir()
            shutil.copyfile(source, folder / safe)
            with self._db() as db:
                db.execute("INSERT INTO uploads VALUES (?,?,?,?)", (key, owner, safe, time.time()))
        return f"upload/{key}/{safe}"

    def adopt(self, key: str, owner: str, name: str, created: float = 0.0) -> None:
        """Register a file that somebody of the house wrote at `uploads/KEY/NAME`, if it isn't yet."""
        with self._db() as db:
            db.execute("INSERT OR IGNORE INTO uploads VALUES (?,?,?,?)", (key, owner, name, created or time.time()))

    def disown(self, key: str) -> None:
        """Forget such a file."""
        with self._db() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (key,))

    def uploaded(self, dataset: str, owner: str) -> Path:
        """The file behind `upload/ID/NAME`. NotFound when it isn't there, or isn't the owner's: no more is told."""
        key, _, name = dataset.removeprefix("upload/").partition("/")
        with self._db() as db:
            row = db.execute("SELECT owner, name FROM uploads WHERE id = ?", (key,)).fetchone()
        if row is None or row["owner"] != owner or (name and name != row["name"]):
            raise NotFound(f"There is no upload {dataset[:80]!r} of yours.", "Upload the file again.", "data.unknown")
        return self.home / "uploads" / key / str(row["name"])

    def uploads_of(self, owner: str) -> list[tuple[str, str, float]]:
        """(key, name, when it came) of the owner's uploads, newest first."""
        with self._db() as db:
            rows = db.execute(
                "SELECT id, name, created FROM uploads WHERE owner = ? ORDER BY created DESC", (owner,)
            ).fetchall()
        return [(str(row["id"]), str(row["name"]), float(row["created"])) for row in rows]

    def uploads(self, owner: str) -> list[str]:
        """The owner's upload ids, newest first."""
        with self._db() as db:
            rows = db.execute("SELECT id, name FROM uploads WHERE owner = ? ORDER BY created DESC", (owner,)).fetchall()
        return [f"upload/{row['id']}/{row['name']}" for row in rows]


class Claim:
    """One server per home, held by a lock that the kernel frees when the server dies."""

    def __init__(self, home: Path) -> None:
        try:
            home.mkdir(parents=True, exist_ok=True)
            self._file = (home / "server.lock").open("a+")
        except OSError as error:
            raise NoRoom(
                f"The data folder {home} can't be written: {error.strerror}.",
                "Set ATELIER_HOME to a folder that can, on a disk with room.",
                "no_room.disk",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            who = self._file.read().strip() or "another process"
            self._file.close()
            raise HomeInUse(
                f"Atelier already runs on {home} ({who}).",
                "Use that one, stop it first, or set ATELIER_HOME to another folder.",
            ) from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def close(self) -> None:
        """Let another server have the folder."""
        self._file.close()


@contextmanager
def room(folder: Path, need: int = 0) -> Iterator[None]:
    """Turns a full disk or an unwritable folder into NoRoom; checks first that `need` bytes are free."""
    try:
        if need and (free := shutil.disk_usage(folder).free) < need + _RESERVE:
            raise NoRoom(
                f"{need / 1e6:.0f} MB are needed in {folder}, {free / 1e6:.0f} MB are free.",
                "Free some space or set ATELIER_HOME to a larger disk.",
                "no_room.disk",
            )
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        raise NoRoom(
            f"{folder} can't be written: {error.strerror}.",
            "Free some space there or set ATELIER_HOME to a folder with room.",
            "no_room.disk",
        ) from error
    except sqlite3.OperationalError as error:
        if not any(word in str(error) for word in ("full", "readonly", "unable to open", "disk I/O")):
            raise
        raise NoRoom(
            f"The registry in {folder} can't be written: {error}.",
            "Free some space there or set ATELIER_HOME to a folder with room.",
            "no_room.disk",
        ) from error


def write(path: Path, value: Any) -> None:
    """Replace `path` whole: a reader sees the old or the new, never a half."""
    new = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    with new.open("w") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
