from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend import events as ev
from backend.errors import BadData
from backend.recipes import process
from backend.recipes.params import TrainParams


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` sets variables for its own process; here they are taken back."""
    monkeypatch.setattr(os, "environ", dict(os.environ))


def params(folder: Path, text: str = "{}") -> list[str]:
    (folder / "params.json").write_text(text)
    return [str(folder / "params.json")]


def ended(capsys: pytest.CaptureFixture[str]) -> ev.Failed:
    event = ev.parse(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(event, ev.Failed)
    return event


def test_it_runs_with_checked_params_in_their_folder(tmp_path: Path) -> None:
    seen = []
    assert process.main(TrainParams, lambda *given: seen.append(given), params(tmp_path, '{"max_steps": "5"}')) == 0
    assert seen == [(TrainParams(max_steps=5), tmp_path)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"max_steps": 0}', "max_steps is 0; use at least 1, or leave it empty to train by epochs."),
        ("{", "params.json is not JSON: "),
        ("[]", "params.json holds list."),
    ],
)
def test_wrong_params(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    assert process.main(TrainParams, lambda *_: None, params(tmp_path, text)) == 1
    assert ended(capsys).message.startswith(message)


def test_no_params(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert process.main(TrainParams, lambda *_: None, []) == 1
    assert "0 arguments" in ended(capsys).message
    assert process.main(TrainParams, lambda *_: None, [str(tmp_path / "none.json")]) == 1
    assert "There is no file" in ended(capsys).message


def test_our_errors_are_told_as_they_are(tmp_path: Path) -> None:
    error = BadData("Row 3 is empty.", "Remove it.", "data.row")
    event = process.told(error, tmp_path)
    assert (event.code, event.message, event.hint) == ("data.row", "Row 3 is empty.", "Remove it.")


def wrapped(inner: Exception) -> Exception:
    outer = RuntimeError("while saving")
    outer.__cause__ = inner
    return outer


OUT = "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 2500000000 bytes."


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(OUT),
        RuntimeError("CUDA out of memory."),
        OSError(errno.ENOMEM, "Cannot allocate"),
        wrapped(MemoryError()),
    ],
)
def test_no_memory(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ATELIER_MEMORY_LIMIT", "3")
    event = process.told(error, tmp_path)
    assert event.code == "no_room.memory"
    assert re.search(r"this process took \d+\.\d GB, its limit is 3 GB", event.message)
    assert ("2.5 GB more were asked for" in event.message) == (str(error) == OUT)
    assert "per_device_train_batch_size" in event.hint


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"),
        wrapped(OSError(errno.EDQUOT, "Disk quota exceeded")),
    ],
)
def test_no_disk(tmp_path: Path, error: Exception) -> None:
    event = process.told(error, tmp_path)
    assert event.code == "no_room.disk"
    assert re.search(rf"[\d,]+ bytes are free in {tmp_path}", event.message)


def test_the_unknown_is_told_with_its_class_and_the_log_has_the_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(params: TrainParams, folder: Path) -> None:
        raise ZeroDivisionError("by nothing")

    assert process.main(TrainParams, run, params(tmp_path)) == 1
    said = capsys.readouterr()
    event = ev.parse(said.out.splitlines()[-1])
    assert isinstance(event, ev.Failed)
    assert (event.code, event.message) == ("broken", "Training broke off: ZeroDivisionError: by nothing")
    assert "Traceback" in said.err


def test_a_wrong_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "ATELIER_MEMORY_LIMIT", "much")
    assert process.main(TrainParams, lambda *_: None, params(tmp_path)) == 1
    assert "ATELIER_MEMORY_LIMIT is 'much'" in ended(capsys).message


def test_the_limit_holds(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps({}))
    program = (
        "import sys; from backend.recipes import process; from backend.recipes.params import TrainParams\n"
        "sys.exit(process.main(TrainParams, lambda *_: bytearray(2 * 10**9)))"
    )
    child = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "params.json")],
        env=os.environ | {"ATELIER_MEMORY_LIMIT": "1"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 1
    event = ev.parse(child.stdout.splitlines()[-1])
    assert isinstance(event, ev.Failed)
    assert event.code == "no_room.memory"
    assert "its limit is 1 GB" in event.message


def test_a_ring_of_causes_has_an_end(tmp_path: Path) -> None:
    one, other = ValueError("first"), KeyError("second")
    one.__context__, other.__context__ = other, one
    assert process.told(one, tmp_path).code == "broken"
