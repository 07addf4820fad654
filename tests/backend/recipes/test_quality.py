"""Checks as a run: the same findings as at once, stopped on wish."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.recipes import quality

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    lines = ["one of a kind", "twice the same text", "twice the same text", "", "write to ann@example.org"]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    (tmp_path / "other.jsonl").write_text(json.dumps({"text": "one of a kind"}) + "\n")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def asked(folder: Path, **more: Any) -> dict[str, Any]:
    place = folder.parent
    return {"dataset": str(place / "rows.jsonl"), "other": str(place / "other.jsonl"), "column": "text"} | more


def test_alone_it_writes_what_it_finds(folder: Path) -> None:
    (folder / "params.json").write_text(json.dumps(asked(folder)))
    done = subprocess.run(
        [sys.executable, "-m", "backend.recipes.quality", str(folder / "params.json")],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    events = [ev.parse(line) for line in done.stdout.splitlines()]
    assert isinstance(events[-1], ev.Finished), done.stdout + done.stderr
    found = {one["check"]: one for one in json.loads((folder / quality.FINDINGS).read_text())}
    assert {name: found[name]["count"] for name in ("exact", "empty", "email", "leaks")} == {
        "exact": 1, "empty": 1, "email": 1, "leaks": 1
    }  # fmt: skip
    assert found["exact"]["sample"] == [2]
    assert any(isinstance(event, ev.Progressed) and event.done == event.total for event in events)


def test_a_wish_to_stop_pauses_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "stop").write_text("save")
    quality.run(quality.Params(**asked(folder)), folder)
    assert isinstance(ev.parse(capsys.readouterr().out.splitlines()[-1]), ev.Paused)
    assert not (folder / quality.FINDINGS).exists()
