"""Hugging Face Jobs: a run on rented hardware, under its owner's account, seen and stopped like one at home.

A run's target is `hf_jobs:FLAVOR:SECONDS`: what hardware, and after how many seconds the Hub ends it; `:MACHINES` may
follow, which train together as one run. What a run needs and makes lies in a private repository of its owner, so it
survives the job and can be resumed by another. A detached courier (courier.py) sends it, copies its log, and verifies
what landed before the run is called finished.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from backend import events as ev
from backend.errors import BadInput, LabError
from backend.jobs import Run
from backend.recipes import together
from backend.recipes.loading import hub_errors
from backend.store import Store, room, write

ROOT = Path(__file__).resolve().parents[2]
SHORTEST, LONGEST = 60, 24 * 3600  # seconds of a job
MOST = 8  # machines of a run
_KEPT = 600.0  # seconds that prices hold
_REST = 3.0  # seconds before a courier that went away is sent again
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_children: list[subprocess.Popen[bytes]] = []  # couriers started here; they outlive this process


class Wanted(NamedTuple):
    """What a target names: hardware, seconds after which it is ended, and how many of it."""

    flavor: str
    seconds: int
    machines: int


def wanted(target: str) -> Wanted:
    """What `hf_jobs:FLAVOR:SECONDS` or `hf_jobs:FLAVOR:SECONDS:MACHINES` names. Raises BadInput."""
    _, flavor, seconds, machines, *more = (*target.split(":"), *[""] * 3)[: max(4, target.count(":") + 1)]
    if not flavor or not seconds.isdecimal() or not SHORTEST <= int(seconds) <= LONGEST:
        raise BadInput(
            f"{target[:80]!r} names no hardware and time.",
            f"Write hf_jobs:FLAVOR:SECONDS, such as hf_jobs:t4-small:3600; {SHORTEST} to {LONGEST:,} seconds.",
            "jobs.target",
        )
    machines = machines or "1"
    if more or not machines.isdecimal() or not 1 <= int(machines) <= MOST:
        raise BadInput(
            f"{machines[:20]!r} is no number of machines.",
            f"Use 1 to {MOST}, as in {flavor}:{seconds}:2.",
            "jobs.target",
        )
    return Wanted(flavor, int(seconds), int(machines))


def hardware_of(target: str) -> str:
    """A target without the time it is given: what a run took there says how long another one takes."""
    name, *rest = target.split(":")
    return ":".join([name, *rest[:1], *rest[2:]]) if name == HfJobs.name else target


class HfJobs:
    """`token` gives an owner's sign-in, '' for none; `env` is what couriers inherit, `recipes` the package to run."""

    name = "hf_jobs"

    def __init__(self, home: Path, env: Mapping[str, str] | None = None, recipes: str = "backend.recipes") -> None:
        self.store = Store(home)
        self.recipes = recipes
        self.env = dict(os.environ if env is None else env)
        self.token: Callable[[str], str] = lambda owner: ""
        self.granted: Callable[[Run], Mapping[str, str]] = lambda run: {}
        self._hardware: tuple[float, list[dict[str, Any]]] = (-_KEPT, [])
        self._sent: dict[str, float] = {}

    # -- what it costs ------------------------------------------------------------------------------------------

    def hardware(self, owner: str) -> list[dict[str, Any]]:
        """[{flavor, title, cpu, ram, gpus, gpu, memory, price}], cheapest first: bytes of memory, dollars an hour.

        `memory` is that of all its GPUs, or of the machine where it has none. Raises HubError.
        """
        from huggingface_hub import HfApi, constants

        at, known = self._hardware
        if time.monotonic() - at > _KEPT:
            with hub_errors("the hardware list"):
                told = HfApi(constants.ENDPOINT).list_jobs_hardware(token=self.token(owner) or False)
            known = sorted((described(one) for one in told), key=lambda one: float(one["price"]))
            self._hardware = (time.monotonic(), known)
        return known

    def cost(self, owner: str, target: str) -> dict[str, Any]:
        """{flavor, title, price, seconds, machines, dollars, …}: at most `dollars`, price × time × machines.

        Raises BadInput, HubError.
        """
        flavor, seconds, machines = wanted(target)
        found = {one["flavor"]: one for one in self.hardware(owner)}
        if flavor not in found:
            raise BadInput(
                f"There is no hardware {flavor[:40]!r}.", f"Choose one of {', '.join(found)}.", "jobs.flavor"
            )
        dollars = found[flavor]["price"] * seconds / 3600 * machines
        return found[flavor] | {"seconds": seconds, "machines": machines, "dollars": dollars}

    # -- the seam -----------------------------------------------------------------------------------------------

    def check(self, run_target: str, owner: str, recipe: str) -> None:
        """Raises before anything is queued: BadInput, HubError (hub.signed_out), and what the Hub refuses."""
        if not self.token(owner):
            raise LabError(
                "Hugging Face Jobs run under your account, and nobody is signed in.",
                "Sign in first; on a server of your own, set HF_TOKEN.",
                "hub.signed_out",
            )
        if self.cost(owner, run_target)["machines"] > 1 and (why := together.why_not(recipe)):
            raise BadInput(f"{recipe} can't use several machines: {why}.", "Choose one machine.", "jobs.machines")

    def start(self, run: Run) -> None:
        self.check(run.job.target, run.job.owner, run.job.recipe)
        with room(self.store.home):
            run.stop_file.unlink(missing_ok=True)
            write(place(run), {"over": False, "sent": False})
        self._send(run)

    def alive(self, run: Run) -> bool:
        """What the last word of the Hub was; the courier may be away, the job is not."""
        return not told(run).get("over", True)

    def ahead(self, run: Run) -> int | None:
        """Nobody waits here: the Hub has its own line."""
        return None

    def cancel(self, run: Run, save: bool) -> None:
        with room(self.store.home):
            run.stop_file.write_text("save" if save else "cancel")
        self._send(run)

    def tend(self) -> None:
        """Send couriers to runs that have none: after a restart, or when one went away."""
        _children[:] = [child for child in _children if child.poll() is None]
        for file in self.store.home.glob("runs/*/remote.json"):
            state = _read(file)
            if state.get("over", True):
                continue
            run = self.store.run(file.parent.name)
            if time.monotonic() - self._sent.get(run.id, -_REST) > _REST:
                self._send(run)

    def describe(self) -> str:
        return "Hugging Face Jobs"

    def _send(self, run: Run) -> None:
        """A courier, where there is none and the owner's sign-in is known; the token goes by its environment."""
        token = self.token(run.job.owner)
        if not token or courier_lives(run):
            return
        self._sent[run.id] = time.monotonic()
        env = {key: value for key, value in self.env.items() if key not in _TOKENS}
        with (run.folder / "courier.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "backend.targets.courier", str(self.store.home), run.id, self.recipes],
                cwd=ROOT,
                env={**env, **self.granted(run), "HF_TOKEN": token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _children.append(child)
        write(run.folder / "courier.json", _mark(child.pid))


def place(run: Run) -> Path:
    """Where the courier keeps what it knows: {sent, over, jobs, lines, namespace, repository}."""
    return run.folder / "remote.json"


def told(run: Run) -> dict[str, Any]:
    return _read(place(run))


def courier_lives(run: Run) -> bool:
    """Told by pid and the moment at which that process began."""
    mark = _read(run.folder / "courier.json")
    return bool(mark) and mark == _mark(int(mark["pid"]))


def append(run: Run, event: ev.Event) -> None:
    """Write an event of the run, as a keeper at home would."""
    with run.log.open("a") as file:
        file.write(ev.encode(event) + "\n")


def _mark(pid: int) -> dict[str, Any]:
    try:
        process = psutil.Process(pid)
        dead = process.status() == psutil.STATUS_ZOMBIE
        return {} if dead else {"pid": pid, "began": round(process.create_time(), 2)}
    except psutil.Error:
        return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def described(one: Any) -> dict[str, Any]:
    """A flavor in our words; the Hub tells prices by the minute, memory as text."""
    minutes = {"minute": 60, "hour": 1, "second": 3600}[one.unit_label]
    accelerator = one.accelerator
    count = int(accelerator.quantity) if accelerator else 0
    memory = _bytes(accelerator.vram) if accelerator else _bytes(one.ram)
    return {
        "flavor": one.name,
        "title": one.pretty_name,
        "cpu": one.cpu,
        "ram": one.ram,
        "gpus": count,
        "gpu": str(accelerator.model) if accelerator else "",
        "memory": memory,
        "price": float(one.unit_cost_usd) * minutes,
    }


def _bytes(text: str) -> int:
    """`16 GB` as a number of bytes, 0 for what can't be read."""
    amount, _, unit = str(text).partition(" ")
    try:
        return int(float(amount) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}.get(unit.strip(), 1e9))
    except ValueError:
        return 0
