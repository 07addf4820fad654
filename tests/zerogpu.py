"""A ZeroGPU on this machine: the device API that the `spaces` package speaks with, and a visitor's tokens for it.

    python -m tests.zerogpu          serves app.py as a ZeroGPU Space would, with `Device.env` in the environment

What is pretended: the four calls, their refusals, and the hooks that would move tensors to CUDA. All else is the
real client: it forks, pickles, keeps workers, counts durations and is killed when they are over.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

DAY = 24 * 3600
FREE, ANONYMOUS = 300, 120  # seconds a day


def token(user: str = "", at: float | None = None) -> str:
    """What the Space's proxy puts into X-IP-Token: who asks ('' for somebody unknown), and since when it is good."""
    body = json.dumps({"user": user, "iat": time.time() if at is None else at}).encode()
    return f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.signature"


@dataclass
class Grant:
    """The GPU, lent to one call."""

    key: str
    user: str
    task: str
    seconds: int
    began: float = field(default_factory=time.monotonic)
    timer: threading.Timer | None = None


class Device:
    """One GPU. `quotas` are seconds left by user, '' for those who are not signed in."""

    def __init__(
        self,
        quotas: Mapping[str, float] | None = None,
        longest: int = 120,
        expiry: float = 60,
        patience: float = 60,
        grace: float = 1.0,
    ) -> None:
        self.quotas = {"": ANONYMOUS, **(quotas or {})}
        self.longest = longest
        self.expiry = expiry  # seconds that a visitor's token is good for
        self.patience = patience  # seconds that somebody waits for the GPU
        self.grace = grace  # seconds between the end of a duration and the kill
        self.pending = False  # whether too many credits are said to be at work
        self.away = False  # whether there is no GPU at all
        self.asked: list[dict[str, Any]] = []  # every /schedule: {user, seconds, status}
        self.grants: list[Grant] = []  # every one made
        self.used: dict[str, float] = {}
        self.killed: list[int] = []
        self.started = 0
        self._holder: Grant | None = None
        self._last = ("", 0)  # task and pid of the worker that had it last
        self._pids: dict[str, int] = {}  # by task
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"device": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True, name="zerogpu").start()

    @property
    def env(self) -> dict[str, str]:
        """What a ZeroGPU Space has in its environment."""
        return {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{self._server.server_port}",
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def left(self, user: str) -> float:
        return self.quotas.get(user, FREE) - self.used.get(user, 0.0)

    def occupy(self, seconds: float) -> None:
        """Somebody else's Space has the GPU for so long."""
        with self._changed:
            self._holder = Grant("other", "someone-else", "other", int(seconds))
        threading.Timer(seconds, self.release, ["other", False]).start()

    # -- the four calls -----------------------------------------------------------------------------------------

    def schedule(self, user: str, iat: float, task: str, seconds: int) -> tuple[int, dict[str, str], Any]:
        """(status, headers, JSON), or status 0 when the asker has to wait."""
        auth = {"X-Authenticated": "pro" if user.startswith("pro") else "regular"} if user else {}

        def no(result: str, wait: float) -> tuple[int, dict[str, str], Any]:
            return 429, auth | {"X-Approve-Result": result}, {"left": int(self.left(user)), "wait": wait}

        if self.away:
            return 503, auth, None
        if time.time() - iat > self.expiry:
            return 401, auth, None
        if self.pending:
            return no("pending-overquota-exceeded", 60)
        if seconds > self.longest:
            return no("illegal-duration", -1)
        if seconds > self.left(user):
            return no("quota-exceeded", DAY / 4)
        with self._changed:
            if self._holder is not None:
                return 0, auth | {"X-Queuing-Reason": "node"}, None
            return 200, auth, self._grant(user, task, seconds)

    def wait(self, user: str, task: str, seconds: int) -> dict[str, Any] | None:
        """The grant once the GPU is free; None when that takes too long."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._holder is None, self.patience)
            return self._grant(user, task, seconds) if free else None

    def _grant(self, user: str, task: str, seconds: int) -> dict[str, Any]:
        grant = Grant(f"allow-{next(self._ids)}", user, task, seconds)
        self._holder = grant
        self.grants.append(grant)
        pid = self._pids.get(task, 0)
        idle = bool(pid) and self._last == (task, pid)
        if idle:
            self._watch(grant, pid)
        return {"idle": idle, "nvidiaIndex": 0, "nvidiaUUID": "GPU-here", "allowToken": grant.key}

    def allow(self, key: str, pid: int) -> int:
        with self._changed:
            if self._holder is None or self._holder.key != key:
                return 404
            self._pids[self._holder.task] = pid
            self._watch(self._holder, pid)
            return 200

    def _watch(self, grant: Grant, pid: int) -> None:
        grant.timer = threading.Timer(grant.seconds + self.grace, self._kill, [grant, pid])
        grant.timer.daemon = True
        grant.timer.start()

    def _kill(self, grant: Grant, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)
        self.release(grant.key, True)

    def release(self, key: str, fail: bool) -> int:
        with self._changed:
            grant = self._holder
            if grant is None or grant.key != key:
                return 404
            spent = time.monotonic() - grant.began
            self.used[grant.user] = self.used.get(grant.user, 0.0) + spent
            self._last = ("", 0) if fail else (grant.task, self._pids.get(grant.task, 0))
            self._holder = None
            self._changed.notify_all()
            if grant.timer is None:
                return 204  # nobody came for it
            grant.timer.cancel()
            return 200


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    device: Device

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query))
        match url.path:
            case "/startup-report":
                self.device.started += 1
                self._answer(200)
            case "/schedule":
                self._schedule(asked)
            case "/allow":
                self._answer(self.device.allow(asked["allowToken"], int(asked["pid"])))
            case "/release":
                self._answer(self.device.release(asked["allowToken"], asked["fail"].lower() == "true"))
            case _:
                self._answer(404)

    def _schedule(self, asked: Mapping[str, str]) -> None:
        user, iat = "", time.time()
        if "token" in asked:
            body = asked["token"].split(".")[1]
            told = json.loads(base64.urlsafe_b64decode(f"{body}=="))
            user, iat = told["user"], told["iat"]
        task, seconds = asked["taskId"], int(asked["durationSeconds"])
        status, headers, value = self.device.schedule(user, iat, task, seconds)
        self.device.asked.append({"user": user, "seconds": seconds, "status": status, "size": asked.get("gpuSize")})
        if status:
            return self._answer(status, headers, value)
        self.send_response(200)
        for name, text in {"Content-Type": "text/event-stream", **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        self._event("ping")
        time.sleep(0.05)  # the client reads an event a chunk
        granted = self.device.wait(user, task, seconds)
        self._event("succeeded", granted) if granted else self._event("failed")

    def _event(self, name: str, data: Any = None) -> None:
        text = f"event: {name}\n" + (f"data: {json.dumps(data)}\n" if data else "")
        self.wfile.write(f"{text}\n".encode())
        self.wfile.flush()

    def _answer(self, status: int, headers: Mapping[str, str] | None = None, value: Any = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def without_cuda() -> None:
    """Have `spaces` imported as where there is no torch: it then leaves torch alone and moves no tensors."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    import spaces.zero.torch as hooks

    del sys.modules["torch"]
    assert hooks.init("") is None, "the hooks do nothing"


if __name__ == "__main__":
    without_cuda()
    import app

    sys.exit(app.main())
