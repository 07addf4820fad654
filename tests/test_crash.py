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
from safetensors.numpy import load_file

from backend import events as ev
from backend.jobs import ENDED
from backend.recipes import checkpoints
from backend.recipes.callbacks import FOLDER
from tests.tiny import tiny_model

PARTS = ["app.py", "backend.recipes.", "backend.targets.keeper"]
KINDS = ["all", *PARTS]  # the two that are tried always come first; tests of the local target kill the others alone


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
    """The registry is sound, the log's whole lines are events."""
    with sqlite3.connect(home / "atelier.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    db.close()
    log = home / "runs" / run / "events.jsonl"
    if log.exists():
        for line in log.read_text().split("\n")[:-1]:
            if line.endswith("}"):  # a line cut by a kill stays as it is
                json.loads(line)


def check_checkpoint(home, run):
    """The last one that a resumed run would take up loads."""
    if last := checkpoints.newest(home / "runs" / run / FOLDER):
        assert load_file(last / "adapter_model.safetensors")


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(("kills", "total"), [(2, 200), pytest.param(50, 20_000, marks=LONG)])  # steps enough for all
def test_killed_at_random_points(server, home, tmp_path, kills, total):
    chance = random.Random(kills)
    cookie = secrets.token_urlsafe(32)
    one = server()
    params = {
        "model": str(tiny_model(tmp_path / "model")), "max_steps": total, "save_steps": 20, "logging_steps": 1,
        "per_device_train_batch_size": 2, "max_length": 64,
    }  # fmt: skip
    ask = client(one, cookie)
    run = ask.predict("sft", params, api_name="/launch")

    def told():
        return ask.predict(run, api_name="/run")

    def ended():
        return (now := told())["state"] in ENDED and now

    def found(words):
        """Processes to kill, once there is one of each kind; none when the run is over."""
        kinds = [processes(home, word) for word in words]
        return (all(kinds) and [one for kind in kinds for one in kind]) or (told()["state"] == "finished" and "none")

    killed = 0
    while killed < kills:
        time.sleep(chance.uniform(0.0, 6.0))
        what = chance.choice(KINDS) if kills > len(KINDS) else KINDS[killed]
        words = PARTS if what == "all" else [what]
        victims = wait(lambda words=words: found(words))
        if victims == "none" or told()["state"] == "finished":
            break
        for victim in victims:
            victim.kill()
        killed += 1
        if "app.py" in words:
            one.process.wait(30)
            one.start()
            ask = client(one, cookie)
        check_store(home, run)
        if "backend.recipes." in words or "backend.targets.keeper" in words:
            now = wait(ended, 240)
            assert now["state"] in ("failed", "finished")
            check_checkpoint(home, run)
            if now["state"] == "failed":
                assert "Resume" in now["error"]["hint"]
                assert ask.predict(run, api_name="/resume") in ("queued", "running")
        else:
            assert told()["state"] in ("queued", "running", "finished")
    assert killed

    now = wait(ended, 240)
    assert now["state"] == "finished", now["error"]
    steps = {e.step for e in ev.read(home / "runs" / run / "events.jsonl")[0] if isinstance(e, ev.Measured)}
    assert steps >= set(range(1, total + 1)), "every step's figures are in the log"
    assert {a["file"] for a in now["artifacts"]} >= {"adapter"}
    assert (home / "runs" / run / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    check_store(home, run)
    assert [path.name for path in (home / "runs").iterdir()] == [run]
