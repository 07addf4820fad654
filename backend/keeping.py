"""Keeps runs and uploads in a private repository of the Space's owner, where a restart wipes the disk.

What changed goes there every few minutes in one commit, so the repository always holds a state that was; a start on an
empty disk begins with it. Set ATELIER_KEEP to OWNER/NAME, a data set, and HF_TOKEN to a token that may write to it.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.errors import BadInput, LabError
from backend.hub.refusals import refusals
from backend.recipes.checkpoints import SEAL
from backend.settings import Settings

log = logging.getLogger("atelier.keeping")

REST = 180.0  # seconds between two looks
_FOLDERS = ("runs", "uploads", "pictures", "sequels", "pairs")
PASSING = ("process.json", "courier.json", "keeper.log", "reserve", "stop")  # of this machine, or of this moment
_GROWING = 20_000_000  # bytes of a file that may grow while it is sent, at most
_REGISTRY = "atelier.db"


FORGETS = (
    "This Space forgets runs and uploads when it restarts. Take away what you need, or sign in and keep it: Hub, My "
    "repositories."
)


class Keeping:
    """`repository` keeps `home`. Every method may raise HubError; `watch` logs it and goes on."""

    def __init__(self, home: Path, repository: str, token: str, endpoint: str | None = None) -> None:
        from huggingface_hub import HfApi

        self.home = home
        self.repository = repository
        self.kept = 0.0  # when everything was there, since the epoch
        self.trouble = ""
        self._hub = HfApi(token=token, endpoint=endpoint)
        self._sent: dict[str, str] = {}  # path: what tells its content
        self._closed = threading.Event()

    def restore(self) -> bool:
        """Fill an empty home with what was kept; True when there was something. Makes a missing repository.

        Raises BadInput when everybody could read it.
        """
        with refusals(self.repository):
            self._hub.create_repo(self.repository, repo_type="dataset", private=True, exist_ok=True)
            told = self._hub.dataset_info(self.repository)
        if not told.private:
            raise BadInput(
                f"ATELIER_KEEP is {self.repository}, which everybody can read.", "Make it private, or name another."
            )
        if (self.home / _REGISTRY).exists():
            return False
        coming = self.home.with_name(f"{self.home.name}.coming")
        shutil.rmtree(coming, ignore_errors=True)
        with refusals(self.repository):
            self._hub.snapshot_download(self.repository, repo_type="dataset", local_dir=coming)
        shutil.rmtree(coming / ".cache", ignore_errors=True)
        if not (coming / _REGISTRY).exists():
            shutil.rmtree(coming)
            return False
        self.home.mkdir(parents=True, exist_ok=True)
        for path in sorted(coming.iterdir(), key=lambda one: one.name == _REGISTRY):  # the registry comes last
            shutil.rmtree(self.home / path.name, ignore_errors=True)
            path.rename(self.home / path.name)
        shutil.rmtree(coming)
        self._sent = {name: mark for name, mark, _ in self._found()}
        return True

    def keep(self) -> int:
        """Send what changed, in one commit; returns how many files that were."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        with tempfile.TemporaryDirectory() as folder:
            registry = self._registry(Path(folder))  # first: every run it knows has its folder then
            found = {name: (mark, path) for name, mark, path in self._found()}
            found[_REGISTRY] = (hashlib.sha256(registry.read_bytes()).hexdigest(), registry)
            operations: list[Any] = [
                CommitOperationAdd(name, str(still(path, Path(folder) / f"{place}")))
                for place, (name, (mark, path)) in enumerate(found.items())
                if self._sent.get(name) != mark
            ]
            operations += [CommitOperationDelete(name) for name in self._sent.keys() - found.keys()]
            if operations:
                with refusals(self.repository):
                    self._hub.create_commit(
                        self.repository, operations, commit_message="Runs", repo_type="dataset"
                    )  # fmt: skip
            self._sent = {name: mark for name, (mark, _) in found.items()}
        self.kept, self.trouble = time.time(), ""
        return len(operations)

    def watch(self) -> None:
        """Begin to keep, in a thread of its own."""
        threading.Thread(target=self._watch, daemon=True, name="keeping").start()

    def close(self) -> None:
        """Keep a last time."""
        self._closed.set()
        self._try()

    def _watch(self) -> None:
        while not self._closed.wait(REST):
            self._try()

    def _try(self) -> None:
        try:
            self.keep()
        except (LabError, OSError, RuntimeError, sqlite3.Error) as error:  # the client says RuntimeError of an upload
            self.trouble = str(error)
            log.warning("runs could not be kept in %s: %s", self.repository, error)

    def _registry(self, folder: Path) -> Path:
        """A copy that is whole, whoever writes meanwhile."""
        copy = folder / _REGISTRY
        source, target = sqlite3.connect(self.home / _REGISTRY), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        return copy

    def _found(self) -> Iterator[tuple[str, str, Path]]:
        """(name, what tells its content, path) of every file that is kept; no checkpoint that is not whole."""
        for top in _FOLDERS:
            for mark, path in lasting(self.home / top):
                yield str(path.relative_to(self.home)), mark, path


def lasting(folder: Path) -> Iterator[tuple[str, Path]]:
    """(what tells its content, path) of each file below `folder` that is to be kept; of checkpoints the whole ones."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in PASSING or ".new" in path.name or ".old" in str(path.parent):
            continue
        if path.parent.name.startswith("checkpoint-") and not (path.parent / SEAL).exists():
            continue
        stat = path.stat()
        yield f"{stat.st_size}-{stat.st_mtime_ns}", path


def still(path: Path, copy: Path) -> Path:
    """A file that does not grow while it is sent; large ones are written once and never grow."""
    return Path(shutil.copyfile(path, copy)) if path.stat().st_size < _GROWING else path


def restored(settings: Settings) -> Keeping | None:
    """What keeps the home that settings name, once that is as it was kept; None where none was asked for."""
    if not settings.keep:
        return None
    keeping = Keeping(settings.home, settings.keep, settings.env.get("HF_TOKEN", ""), settings.env.get("HF_ENDPOINT"))
    keeping.restore()
    return keeping


def outlook(settings: Settings, keeping: Keeping | None) -> str:
    """What a visitor is told about what they leave here; '' where it simply stays."""
    if keeping:
        trouble = f" The last time failed: {keeping.trouble}" if keeping.trouble else ""
        return f"Kept every few minutes in {keeping.repository}.{trouble}"
    return "" if settings.lasting else FORGETS
