"""The log that a keeper writes, and the lines it reads."""

import json
import os

import pytest

from backend import events as ev
from backend.jobs import Job
from backend.store import Store
from backend.targets.keeper import Log, _how_it_died, _lines


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


def test_lines_as_programs_write_them():
    read, write = os.pipe()
    os.write(write, "one\ntwo\r\n 10%\r 20%\r\n\nünd no end".encode())
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert list(_lines(pipe)) == ["one", "two", " 10%", " 20%", "ünd no end"]


def test_a_line_without_end_is_cut():
    read, write = os.pipe()
    os.write(write, b"x" * 5000)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert sum(len(line) for line in _lines(pipe, longest=1000)) == 5000


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "signal 9"), (-11, "SIGSEGV"), (7, "exit code 7"), (0, "exit code 0")]
)
def test_how_it_died_says_what_to_do(code, words):
    failed = _how_it_died(code)
    assert words in failed.message
    assert "Resume" in failed.hint
