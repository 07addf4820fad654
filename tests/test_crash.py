"""The server and the trainer are killed at random moments; the store must stay whole and the run must reach its end."""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
import time

import psutil
import pytest
from gradio_client import Client

from backend import events as ev
from backend.jobs import ENDED
from tests.tiny import tiny_model

STEPS = 100  # for each kill, so that it comes before the end on a quick machine, too


def client(server, cookie):
    return Client(server.url, headers={"Cookie": f"atelier_visitor={cookie}"}, verbose=False)


def wait(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
    return found


def processes(home, word):
    """Living processes of this home whose command line has `word`."""
    found = []
    for process in psutil.process_iter():
        try:
            if word in " ".join(process.cmdline()) and process.environ().get("ATELIER_HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue
    return found


def check_store(home, run):
    """The registry is sound, the log's whole lines are events, each kept checkpoint loads."""
    with sqlite3.connect(home / "atelier.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    db.close()
    log = home / "runs" / run / "events.jsonl"
    if log.exists():
        for line in log.read_text().split("\n")[:-1]:
            if line.endswith("}"):  # a line cut by a kill stays as it is
                json.loads(line)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_random_points(server, home, tmp_path, kills):
    chance, total = random.Random(kills), STEPS * kills
    cookie = secrets.token_urlsafe(32)
    one = server()
    params = {
        "model": str(tiny_model(tmp_path / "model")), "max_steps": total, "save_steps": 20, "logging_steps": 1,
        "per_device_train_batch_size": 2, "max_length": 64,
    }  # fmt: skip
    run = client(one, cookie).predict("sft", params, api_name="/launch")

    killed = 0
    while killed < kills:
        time.sleep(chance.uniform(0.0, 6.0))
        state = client(one, cookie).predict(run, api_name="/run")["state"]
        if state == "finished":
            break
        what = chance.choice(["app.py", "backend.recipes.", "backend.targets.keeper", "all"])
        words = ["app.py", "backend.recipes.", "backend.targets.keeper"] if what == "all" else [what]
        for victim in [process for word in words for process in processes(home, word)]:
            victim.kill()
        killed += 1
        if "app.py" in words:
            one.process.wait(30)
            one.start()
        told = client(one, cookie).predict(run, api_name="/run")
        check_store(home, run)
        if "backend.recipes." in words or "backend.targets.keeper" in words:
            told = wait(lambda: (t := client(one, cookie).predict(run, api_name="/run"))["state"] in ENDED and t)
            assert told["state"] in ("failed", "finished")
            if told["state"] == "failed":
                assert "Resume" in told["error"]["hint"]
                assert client(one, cookie).predict(run, api_name="/resume") in ("queued", "running")
        else:
            assert told["state"] in ("queued", "running", "finished")
    assert killed

    told = wait(lambda: (t := client(one, cookie).predict(run, api_name="/run"))["state"] in ENDED and t, 240)
    assert told["state"] == "finished", told["error"]
    steps = {e.step for e in ev.read(home / "runs" / run / "events.jsonl")[0] if isinstance(e, ev.Measured)}
    assert steps >= set(range(1, total + 1)), "every step's figures are in the log"
    assert {a["file"] for a in told["artifacts"]} >= {"adapter"}
    assert (home / "runs" / run / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    check_store(home, run)
    assert [path.name for path in (home / "runs").iterdir()] == [run]
