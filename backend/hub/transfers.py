"""Downloads into the cache and uploads to the Hub: each a process, seen as it goes, stopped, taken up again."""

from __future__ import annotations

import json
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.door import door
from backend.errors import BadInput, NotFound, NotYours
from backend.hub import carry
from backend.hub.cache import Cache
from backend.hub.refusals import client, signed_out
from backend.hub.repositories import _kind, _named

if TYPE_CHECKING:
    from backend.lab import Lab

log = logging.getLogger("atelier.hub")
ROOT = Path(__file__).resolve().parents[2]
KEPT = 50  # transfers that are remembered
ABREAST = 4  # of one owner
_QUIET = {  # progress is told by what draws its bars; they are drawn nowhere
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "0",
}
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass
class Transfer:
    """One transfer as it goes. `state` is running, finished, failed or stopped; sizes are bytes."""

    id: str
    owner: str
    request: Mapping[str, Any] = field(repr=False)
    process: subprocess.Popen[str]
    state: str = "running"
    done: float = 0
    total: float = 0
    phase: str = ""
    error: dict[str, str] | None = None
    place: str = ""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    last: deque[str] = field(default_factory=lambda: deque(maxlen=40), repr=False)  # words on stderr
    threads: list[threading.Thread] = field(default_factory=list, repr=False)

    def add(self, event: ev.Event) -> None:
        match event:
            case ev.Started():
                self.total = float(event.info["bytes"])
            case ev.Progressed():
                self.done, self.total, self.phase = event.done, event.total, ""
            case ev.Logged():
                self.phase = event.text
            case ev.Failed():
                self.error = {"code": event.code, "message": event.message, "hint": event.hint}
            case ev.Finished():
                self.place = str(event.values["place"])
                self.done = self.total

    def told(self) -> dict[str, Any]:
        """{id, do, kind, name, state, done, total, rate, eta, phase, error, place}; no secret."""
        took = max(0.1, (self.ended or time.time()) - self.began)
        rate = self.done / took
        left = (self.total - self.done) / rate if rate and self.state == "running" else None
        return {
            **{key: self.request[key] for key in ("do", "kind", "name")},
            **{key: getattr(self, key) for key in ("id", "state", "done", "total", "phase", "error", "place")},
            "rate": rate,
            "eta": left,
            "seconds": took,
        }


class Transfers:
    """In this process's memory: when the server goes they end, and what was brought so far is taken up again."""

    def __init__(self, lab: Lab, cache: Cache, keeps: Callable[[str], None]) -> None:
        self._lab = lab
        self._cache = cache
        self._keeps = keeps
        self._held: dict[str, Transfer] = {}
        self._lock = threading.Lock()

    @door
    def plan(self, owner: str, kind: str, name: str, revision: str = "", everything: bool = False) -> dict[str, Any]:
        """{bytes, files, fits, free, limit, held}: what a download would bring and whether it fits; brings nothing."""
        self._keeps(owner)
        request = self._request("download", owner, kind, name) | {"revision": revision, "everything": everything}
        client(self._lab.catalog)
        missing, files, _ = carry.needed(request)
        return {"bytes": missing, "files": len(files)} | self._cache.room(missing)

    @door
    def download(self, owner: str, kind: str, name: str, revision: str = "", everything: bool = False) -> str:
        """Begin to bring a repository into the cache; what is there already is not fetched again. Gives an id.

        With safetensors other forms of weights are left out, unless `everything` is wanted. On a shared server only
        what everybody may read. Raises NoRoom, NotFound, Gated, HubError, NotYours.
        """
        self._keeps(owner)
        request = self._request("download", owner, kind, name) | {"revision": revision, "everything": everything}
        client(self._lab.catalog)
        missing, files, _ = carry.needed(request)
        self._cache.check(name, missing)
        request |= {"bytes": missing, "files": files}
        return self._begin(owner, request)

    @door
    def upload(self, owner: str, kind: str, name: str, files: Mapping[str, Path], message: str = "") -> str:
        """Begin to bring files ({path there: path here}) into a repository, in one commit. Gives an id."""
        if not files:
            raise BadInput("There is no file to upload.", "Choose one.")
        token = self._lab.token(owner)
        if not token:
            raise signed_out()
        request = self._request("upload", owner, kind, name) | {
            "token": token,
            "files": {to: str(at) for to, at in files.items()},
            "message": message or f"Upload {len(files)} file{'s' if len(files) > 1 else ''} with Atelier",
        }
        return self._begin(owner, request)

    @door
    def list(self, owner: str) -> list[dict[str, Any]]:
        """Those of `owner`, newest first."""
        return [one.told() for one in reversed(list(self._held.values())) if one.owner == owner]

    @door
    def stop(self, owner: str, id: str) -> None:
        """End one at once; what it brought stays for the next time. Raises NotFound, NotYours."""
        one = self._mine(owner, id)
        if one.state == "running":
            one.state = "stopped"
            one.process.kill()

    @door
    def again(self, owner: str, id: str) -> str:
        """Take up one that failed or was stopped; gives the new id."""
        one = self._mine(owner, id)
        request = one.request
        self.forget(owner, id)
        where = owner, request["kind"], request["name"]
        if request["do"] == "upload":
            return self.upload(*where, {to: Path(at) for to, at in request["files"].items()})
        return self.download(*where, request["revision"], request["everything"])

    @door
    def forget(self, owner: str, id: str) -> None:
        """Take one that has ended off the list."""
        if self._mine(owner, id).state != "running":
            del self._held[id]

    def close(self) -> None:
        """End those that go on, and wait until they are gone."""
        for one in self._held.values():
            if one.state == "running":
                one.state = "stopped"
                one.process.kill()
            for thread in one.threads:
                thread.join(timeout=5)

    # -- below --------------------------------------------------------------------------------------------------

    def _request(self, do: str, owner: str, kind: str, name: str) -> dict[str, Any]:
        """The cache of a shared server is everybody's, so nothing private is brought into it."""
        token = "" if self._lab.settings.public else self._lab.token(owner)
        return {"do": do, "kind": _kind(kind), "name": _named(name), "token": token}

    def _mine(self, owner: str, id: str) -> Transfer:
        if id not in self._held:
            raise NotFound("This transfer is not known any more.", "Begin it again.")
        if self._held[id].owner != owner:
            raise NotYours("This transfer is not yours.", "Begin one of your own.")
        return self._held[id]

    def _begin(self, owner: str, request: Mapping[str, Any]) -> str:
        with self._lock:
            mine = [one for one in self._held.values() if one.owner == owner and one.state == "running"]
            same = [one.id for one in mine if all(one.request[key] == request[key] for key in ("do", "kind", "name"))]
            if same and request["do"] == "download":
                return same[0]
            if len(mine) >= ABREAST:
                raise BadInput(f"{len(mine)} transfers of yours go on.", "Wait for one to end, or stop one.")
            env = {key: value for key, value in self._lab.settings.child_env.items() if key not in _TOKENS}
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "backend.hub.carry"],
                cwd=ROOT,
                env=env | _QUIET,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            one = Transfer(secrets.token_hex(4), owner, request, process)
            self._held[one.id] = one
            for old in [key for key, held in self._held.items() if held.state != "running"][:-KEPT]:
                del self._held[old]
        assert process.stdin
        process.stdin.write(json.dumps(dict(request)))
        process.stdin.close()
        for work in (self._follow, self._drain):
            one.threads.append(threading.Thread(target=work, args=(one,), daemon=True, name=f"transfer-{one.id}"))
            one.threads[-1].start()
        return one.id

    @staticmethod
    def _drain(one: Transfer) -> None:
        assert one.process.stderr
        with one.process.stderr as lines:
            for line in lines:
                one.last.append(line.rstrip())

    @staticmethod
    def _follow(one: Transfer) -> None:
        assert one.process.stdout
        with one.process.stdout as lines:
            for line in lines:
                one.add(ev.parse(line))
        code = one.process.wait()
        one.ended = time.time()
        if one.state == "stopped":
            return
        if code and not one.error:
            log.error("transfer %s ended with exit code %s:\n%s", one.id, code, "\n".join(one.last))
        if code or one.error or not one.place:
            one.error = one.error or {
                "code": "died",
                "message": f"The transfer ended without a result (exit code {code}).",
                "hint": "Take it up again: what was brought is kept.",
            }
        one.state = "failed" if one.error else "finished"
