"""The log, as a keeper or a slice writes it."""

import json
import os

import pytest

from backend import events as ev
from backend.jobs import Job
from backend.journal import Log
from backend.store import Store


@pytest.fixture
def run(tmp_path):
    return Store(tmp_path).add(Job("count", {}, "local", "ann"), {})


def test_a_full_disk_is_told_from_the_reserve(run):
    """/dev/full refuses every write, as a full disk does."""
    log = Log(run)
    assert log.add(ev.Wrote(text="before"))
    good, log.file = log.file, os.open("/dev/full", os.O_WRONLY)
    assert not log.add(ev.Wrote(text="lost"))
    assert not (run.folder / "reserve").exists(), "its room is free for the last word"
    assert not log.add(ev.Wrote(text="no longer tried"))
    os.close(log.file)
    log.file = good
    log.add_last(ev.Failed(code="no_room.disk", message="full"))
    told = [json.loads(line)["type"] for line in run.log.read_text().splitlines()]
    assert told == ["Wrote", "Failed"]
