"""The jobs API of the local Hub: a job is a real process of the very command that was sent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.localhub import Hub, moment

HARDWARE = (
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "accelerator": None,
     "unitCostUSD": 0.000167},
    {"name": "t4-small", "prettyName": "Nvidia T4 - small", "cpu": "4 vCPU", "ram": "15 GB", "unitCostUSD": 0.006667,
     "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"}},
    {"name": "l4x4", "prettyName": "4x Nvidia L4", "cpu": "48 vCPU", "ram": "186 GB", "unitCostUSD": 0.063333,
     "accelerator": {"type": "gpu", "model": "L4", "quantity": "4", "vram": "96 GB", "manufacturer": "Nvidia"}},
)  # fmt: skip


@dataclass
class Job:
    id: str
    owner: str
    spec: dict[str, Any]
    folder: Path
    stage: str = "SCHEDULING"
    message: str = ""
    lines: list[dict[str, str]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    at: float = field(default_factory=time.time)


class Jobs:
    """`waits` is how long a job stands in line; `cut` how many log streams end after a few lines."""

    def __init__(self, hub: Hub, folder: Path, env: dict[str, str] | None = None) -> None:
        self.hub, self.folder, self.env = hub, folder, env or {}
        self.jobs: dict[str, Job] = {}
        self.waits = 0.0
        self.cut = 0
        hub.jobs = self

    def close(self) -> None:
        for one in self.jobs.values():
            self.kill(one)

    def answer(self, request: Any, path: str) -> None:
        name, _, rest = path.partition("/")
        id, _, what = rest.partition("/")
        if name == "hardware":
            request.say([one | {"unitCostMicroUSD": 1, "unitLabel": "minute"} for one in HARDWARE])
        elif not id and request.command == "POST":
            request.say(self.told(self.begin(name, json.loads(request.body))))
        elif not id:
            wanted = dict(label.split("=") for label in request.asked.get("label", []))
            found = [one for one in self.jobs.values() if wanted.items() <= (one.spec.get("labels") or {}).items()]
            request.say([self.told(one) for one in found if one.owner == name])
        elif id not in self.jobs or request.who["name"] != name:
            request.refuse(404, "")
        elif what == "cancel":
            self.jobs[id].stage = "CANCELED"
            self.kill(self.jobs[id])
            request.say({})
        elif what in ("logs", "metrics"):
            self.stream(request, self.jobs[id], what)
        else:
            request.say(self.told(self.jobs[id]))

    def told(self, one: Job) -> dict[str, Any]:
        status = {"stage": one.stage, "message": one.message or None}
        owner = {"id": one.owner, "name": one.owner, "type": "user"}
        shown = {key: one.spec.get(key) for key in ("command", "arguments", "flavor", "labels", "dockerImage")}
        return {"id": one.id, "createdAt": moment(one.at), "status": status, "owner": owner, **shown}

    def begin(self, owner: str, spec: dict[str, Any]) -> Job:
        id = f"job{len(self.jobs):04d}"
        one = self.jobs[id] = Job(id, owner, spec, self.folder / id)
        threading.Thread(target=self.play, args=(one,), daemon=True).start()
        return one

    def play(self, one: Job) -> None:
        """Run its command with its environment and secrets, and nothing else of ours that matters."""
        deadline = time.monotonic() + self.waits
        while time.monotonic() < deadline and one.stage == "SCHEDULING":
            time.sleep(0.05)
        if one.stage != "SCHEDULING":
            return
        one.folder.mkdir(parents=True)
        names = ("LANG", "TMPDIR", "XDG_CACHE_HOME", "ATELIER_STARTER")
        kept = {key: os.environ[key] for key in names if key in os.environ}
        env = kept | {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(one.folder),
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1", "ATELIER_HOME": str(self.folder),
            **self.env, **self.network(one), **(one.spec.get("environment") or {}), **(one.spec.get("secrets") or {}),
        }  # fmt: skip
        one.stage = "RUNNING"
        one.process = subprocess.Popen(
            [*one.spec["command"], *(one.spec.get("arguments") or [])], cwd=one.folder, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(float(one.spec.get("timeoutSeconds") or 1800), self.over, (one,))
        timer.daemon = True
        timer.start()
        assert one.process.stdout
        with one.process.stdout as lines:
            for line in lines:
                one.lines.append({"timestamp": moment(time.time()), "data": line.rstrip("\n")})
        code = one.process.wait()
        timer.cancel()
        if one.stage == "RUNNING":
            one.message = "" if code == 0 else f"Job failed with exit code: {code}"
            one.stage = "COMPLETED" if code == 0 else "ERROR"

    def network(self, one: Job) -> dict[str, str]:
        """What a member of a network group is told: with this prefix an alias that is a number is an address here."""
        return {"HF_NETWORK_GROUP_PREFIX": "127.0.0."} if one.spec.get("network") else {}

    def over(self, one: Job) -> None:
        if one.stage == "RUNNING":
            one.message, one.stage = "Job timeout", "ERROR"
            self.kill(one)

    def kill(self, one: Job) -> None:
        if one.process and one.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)

    def stream(self, request: Any, one: Job, what: str) -> None:
        """Server-sent events until the job has ended; logs from the beginning, as the Hub sends them."""
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        cut = what == "logs" and self.cut > 0
        self.cut -= cut
        sent = 0
        while True:
            going = one.stage in ("SCHEDULING", "RUNNING")
            if what == "metrics":
                told = {"cpu_usage_pct": 50, "memory_used_bytes": psutil.Process().memory_info().rss, "gpus": {}}
                new = [told] if one.stage == "RUNNING" else []
            else:
                new = one.lines[sent:]
            for line in new:
                request.wfile.write(f"data: {json.dumps(line)}\n\n".encode())
                sent += 1
                if cut and sent >= 5:
                    return
            request.wfile.flush()
            if not going and (what == "metrics" or sent >= len(one.lines)):
                return
            time.sleep(0.05 if what == "logs" else 0.5)
