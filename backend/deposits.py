"""A visitor's own runs, uploads and pictures, kept in a private repository of theirs while others own the machine.

Each who is signed in may choose so. What changed goes there every few minutes in one commit, under their own sign-in;
when they come again to a disk that was wiped, it is brought back. What comes back was in a stranger's hands: it is
theirs alone, stays within its folders, and settings are made anew from the request.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.door import door
from backend.errors import BadInput, LabError
from backend.hub.refusals import refusals, signed_out
from backend.jobs import Job, Run
from backend.keeping import PASSING, REST, lasting, still
from backend.recipes import RECIPES
from backend.store import room, write

if TYPE_CHECKING:
    from backend.lab import Lab

log = logging.getLogger("atelier.deposits")

NAME = "atelier-runs"  # of the repository, a data set under the visitor's account
MARK = "atelier.json"  # in it while its owner wants it kept: {uploads: [[key, name, created]]}
MOST = 5_000_000_000  # bytes of one visitor; of more the newest runs are kept
_RUN = re.compile(r"[0-9a-f]{4,12}")
_KEY = re.compile(r"[\w-]{8,64}")
_PLAIN = re.compile(r"[\w .-]{1,100}")


@dataclass
class Deposit:
    """How it stands for one visitor: is it wished for, and what is there by what tells its content."""

    repository: str
    on: bool = False
    kept: float = 0.0  # when everything was there, since the epoch
    trouble: str = ""
    sent: dict[str, str] = field(default_factory=dict)
    left: int = 0  # runs that found no room
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Deposits:
    """For one Lab. Nothing is asked of the Hub for those who are not signed in, nor on a machine of one's own."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._held: dict[str, Deposit] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watching = False

    def offered(self, owner: str) -> bool:
        return self._lab.settings.public and owner.startswith("user-") and bool(self._lab.token(owner))

    @door
    def look(self, owner: str) -> dict[str, Any]:
        """{repository, on, kept, trouble, left}; {} where it is not offered."""
        if not self.offered(owner):
            return {}
        one = self._held.get(owner)
        name = one.repository if one else f"{owner.removeprefix('user-')}/{NAME}"
        told = {"repository": name, "on": False, "kept": 0.0, "trouble": "", "left": 0}
        return told | ({key: getattr(one, key) for key in told} if one else {})

    @door
    def begin(self, owner: str) -> None:
        """Keep what this visitor has and will have. Raises HubError, BadInput where everybody could read it."""
        if not self.offered(owner):
            raise signed_out()
        one = self._of(owner)
        hub = self._hub(owner)
        with one.lock, refusals(one.repository):
            hub.create_repo(one.repository, repo_type="dataset", private=True, exist_ok=True)
            if not hub.dataset_info(one.repository).private:
                raise BadInput(f"{one.repository} can be read by everybody.", "Make it private first, then ask again.")
        if not one.on:
            self._bring(owner, one)  # of another Space, or of a time before
        one.on = True
        self._keep(owner, one)
        self._watch()

    @door
    def end(self, owner: str) -> None:
        """Keep no more; what is there stays until its owner deletes it. Raises HubError."""
        one = self._of(owner)
        with one.lock, refusals(one.repository):
            hub = self._hub(owner)
            if hub.file_exists(one.repository, MARK, repo_type="dataset"):
                hub.delete_file(MARK, one.repository, repo_type="dataset", commit_message="Kept no more")
        one.on, one.kept, one.sent = False, 0.0, {}

    def came(self, owner: str) -> None:
        """Somebody opens the page: the first time, what they have kept is brought back, in a thread of its own."""
        with self._lock:
            if owner in self._held or not self.offered(owner):
                return
            self._held[owner] = one = Deposit(f"{owner.removeprefix('user-')}/{NAME}")
        threading.Thread(target=self._returned, args=(owner, one), daemon=True, name="deposit").start()

    def close(self) -> None:
        """Keep a last time."""
        self._closed.set()
        self._all()

    # -- below --------------------------------------------------------------------------------------------------

    def _of(self, owner: str) -> Deposit:
        with self._lock:
            return self._held.setdefault(owner, Deposit(f"{owner.removeprefix('user-')}/{NAME}"))

    def _hub(self, owner: str) -> Any:
        from huggingface_hub import HfApi

        return HfApi(token=self._lab.token(owner), endpoint=self._lab.settings.env.get("HF_ENDPOINT"))

    def _returned(self, owner: str, one: Deposit) -> None:
        try:
            hub = self._hub(owner)
            with refusals(one.repository):
                there = hub.repo_exists(one.repository, repo_type="dataset")
                if not there or not hub.file_exists(one.repository, MARK, repo_type="dataset"):
                    return
            self._bring(owner, one)
            one.on = True
            self._watch()
        except (LabError, OSError, RuntimeError) as error:
            one.trouble = str(error)
            log.warning("what %s keeps could not be brought: %s", owner, error)
            with self._lock:
                self._held.pop(owner, None)  # the next visit tries again

    def _watch(self) -> None:
        with self._lock:
            begins, self._watching = not self._watching, True
        if begins:
            threading.Thread(target=self._work, daemon=True, name="deposits").start()

    def _work(self) -> None:
        while not self._closed.wait(REST):
            self._all()

    def _all(self) -> None:
        for owner, one in list(self._held.items()):
            if one.on and self._lab.token(owner):  # whoever went away long ago has it kept as it was
                try:
                    self._keep(owner, one)
                except (LabError, OSError, RuntimeError) as error:
                    one.trouble = str(error)
                    log.warning("runs of %s could not be kept: %s", owner, error)

    # -- there --------------------------------------------------------------------------------------------------

    def _keep(self, owner: str, one: Deposit) -> None:
        """Send what changed, in one commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with one.lock, tempfile.TemporaryDirectory() as folder:
            found = {name: (mark, path) for name, mark, path in self._found(owner, one)}
            operations: list[Any] = [
                CommitOperationAdd(name, str(still(path, Path(folder) / str(place))))
                for place, (name, (mark, path)) in enumerate(found.items())
                if one.sent.get(name) != mark
            ]
            operations += [CommitOperationDelete(name) for name in one.sent.keys() - {*found, MARK}]
            uploads = json.dumps({"uploads": self._lab.store.uploads_of(owner)})
            if one.sent.get(MARK) != uploads:
                operations.append(CommitOperationAdd(MARK, uploads.encode()))
            if operations:
                with refusals(one.repository):
                    self._hub(owner).create_commit(
                        one.repository, operations, commit_message="Runs", repo_type="dataset"
                    )  # fmt: skip
            one.sent = {name: mark for name, (mark, _) in found.items()} | {MARK: uploads}
        one.kept, one.trouble = time.time(), ""

    def _found(self, owner: str, one: Deposit) -> Iterator[tuple[str, str, Path]]:
        """(name there, what tells its content, path) of every file of theirs, as long as there is room."""
        lab, free = self._lab, MOST
        one.left = 0
        places = [(f"uploads/{key}", lab.store.home / "uploads" / key) for key, *_ in lab.store.uploads_of(owner)]
        places += [("pictures", lab.pictures.folder(owner))]
        places += [(f"runs/{run.id}", run.folder) for run in lab.store.runs(owner, 10_000)]
        for name, folder in places:
            files = list(lasting(folder))
            size = sum(path.stat().st_size for _, path in files)
            if size > free:
                one.left += name.startswith("runs/")
                continue
            free -= size
            for mark, path in files:
                yield f"{name}/{path.relative_to(folder).as_posix()}", mark, path

    # -- back ---------------------------------------------------------------------------------------------------

    def _bring(self, owner: str, one: Deposit) -> None:
        """Take in what is kept and is not here."""
        home, hub = self._lab.store.home, self._hub(owner)
        with one.lock, tempfile.TemporaryDirectory(dir=home, prefix="coming-") as folder, refusals(one.repository):
            told = hub.dataset_info(one.repository, files_metadata=True)
            size = sum(file.size or 0 for file in told.siblings or ())
            if size > 2 * MOST:
                raise BadInput(f"{one.repository} holds {size / 1e9:.0f} GB.", f"At most {MOST / 1e9:.0f} GB are kept.")
            with room(home, size):
                hub.snapshot_download(one.repository, repo_type="dataset", local_dir=folder)
            came = Path(folder)
            there = {path.relative_to(came).as_posix() for path in came.rglob("*")}
            for key, name, created in _uploads(came / MARK):
                target = home / "uploads" / key
                if not target.exists() and (came / "uploads" / key / name).is_file():
                    (came / "uploads" / key).rename(target)
                    self._lab.store.adopt(key, owner, name, created)
            pictures = self._lab.pictures.folder(owner)
            for path in sorted(came.glob("pictures/*")):
                if path.is_file() and not (pictures / path.name).exists():
                    pictures.mkdir(parents=True, exist_ok=True)
                    path.rename(pictures / path.name)
            runs = [run for place in sorted(came.glob("runs/*")) if (run := self._take_run(owner, place))]
            for run in sorted(runs, key=lambda run: run.created):  # what a run goes on from is there before it
                self._lab.store.take_in(run)
                try:
                    params = self._lab.named(run.job.recipe, run.job.params, owner)[1]
                    write(run.folder / "params.json", params)
                except LabError as error:  # its data or model are gone: it can be looked at all the same
                    log.info("run %s can't be asked for again: %s", run.id, error)
            one.sent = {name: mark for name, mark, _ in self._found(owner, one) if name in there}

    def _take_run(self, owner: str, place: Path) -> Run | None:
        """Move one run in, if it is one and isn't here. Where it names what is outside its folder, it is left."""
        target = self._lab.store.home / "runs" / place.name
        if not _RUN.fullmatch(place.name) or target.exists():
            return None
        try:
            told = json.loads((place / "job.json").read_text())
            job = Job(str(told["recipe"]), dict(told["params"]), str(told["target"]), owner, str(told["group"]))
            run = Run(place.name, job, target, float(told["created"]), str(told["parent"]))
            if job.recipe not in RECIPES:
                raise ValueError(f"there is no recipe {job.recipe!r}")
            for event in _events(place / "events.jsonl"):
                if isinstance(event, ev.Produced) and event.file and not _inside(event.file):
                    raise ValueError(f"it names {event.file!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("run %s of %s was not taken back: %s", place.name, owner, error)
            return None
        for name in ("params.json", *PASSING):
            (place / name).unlink(missing_ok=True)
        about = {"id": run.id, "created": run.created, "parent": run.parent, **asdict(job)}
        write(place / "job.json", about)
        shutil.move(place, target)
        return run


def _events(path: Path) -> Iterator[ev.Event]:
    """All of a log."""
    after, end = 0, path.stat().st_size
    while after < end:
        events, reached = ev.read(path, after)
        if reached == after:
            return
        yield from events
        after = reached


def _uploads(mark: Path) -> list[tuple[str, str, float]]:
    """What MARK says of uploads, as far as it makes sense."""
    try:
        rows = json.loads(mark.read_text())["uploads"]
        return [
            (str(key), str(name), float(created))
            for key, name, created in rows
            if _KEY.fullmatch(str(key)) and _PLAIN.fullmatch(str(name)) and str(name).strip(". ")
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
