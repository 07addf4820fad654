"""1,000 finished runs: how long the sidebar's list takes; 10,000 events tailed: whether memory stays flat."""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.jobs import Job, Run
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake
from ui.folding import Views

RUNS = 1000
EVENTS = 10_000


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.read({"ATELIER_HOME": home})
        store, fake = Store(Path(home)), Fake(long_run)
        for _ in range(RUNS):
            job = Job("sft", {"model": "m", "dataset": "sample/instructions"}, "fake", "ann")
            fake.start(store.add(job, {}))
        unread = list_seconds(Lab(settings, Store(Path(home)), (fake,), EngineProcess(env={})))
        cold = list_seconds(Lab(settings, Store(Path(home)), (fake,), EngineProcess(env={})))
        lab = Lab(settings, store, (fake,), EngineProcess(env={}))
        list_seconds(lab)
        warm = list_seconds(lab)
        grown = tail_megabytes(lab, fake, store)
    return [
        {
            "what": f"list of {RUNS:,} finished runs, none seen before",
            "figure": unread * 1000,
            "unit": "ms",
            "requirement": "≤ 100 ms",
            "passed": unread <= 0.1,
        },
        {
            "what": f"list of {RUNS:,} finished runs, after a restart",
            "figure": cold * 1000,
            "unit": "ms",
            "requirement": "≤ 100 ms",
            "passed": cold <= 0.1,
        },
        {
            "what": f"list of {RUNS:,} finished runs, then",
            "figure": warm * 1000,
            "unit": "ms",
            "requirement": "≤ 100 ms",
            "passed": warm <= 0.1,
        },
        {
            "what": f"memory grown over {EVENTS:,} tailed events",
            "figure": grown,
            "unit": "MB",
            "requirement": "≤ 5 MB",
            "passed": grown <= 5,
        },
    ]


def long_run(run: Run) -> list[ev.Event]:
    """The log of a run of 60 steps, about as the default one is."""
    steps = [
        ev.Measured(step=i, values={"loss": 3.0 / i, "learning_rate": 1e-4, "epoch": i / 60}) for i in range(1, 61)
    ]
    told = [ev.Progressed(done=i, total=60, eta=60 - i) for i in range(1, 61)]
    lines = [ev.Wrote(text=f"line {i}") for i in range(20)]
    return [ev.Started(), *steps, *told, *lines, ev.Finished(values={"train_loss": 1.0})]


def list_seconds(lab: Lab) -> float:
    """What the sidebar asks for: its first page."""
    start = time.perf_counter()
    assert len(lab.runs("ann")) == 50
    return time.perf_counter() - start


def tail_megabytes(lab: Lab, fake: Fake, store: Store) -> float:
    """A page that follows a run as the run view does, event by event; the first quarter is warm-up."""
    page = Views(lab.watch)
    fake.script = lambda run: [ev.Started()]
    run = store.add(Job("sft", {}, "fake", "ann"), {})
    fake.start(run)
    before = 0.0
    for step in range(EVENTS):
        fake.write(run, ev.Measured(step=step, values={"loss": 1 / (step + 1), "learning_rate": 1e-4}))
        fake.write(run, ev.Wrote(text=f"line {step} " + "x" * 80))
        if step % 10 == 0:
            page.look(run.id, "ann")
            lab.status(run.id, "ann")
        if step == EVENTS // 4:
            before = resident()
    return resident() - before


def resident() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6
