"""A run as the Lab tells of it, and its view as events make it."""

from __future__ import annotations

from typing import Any

from backend import events as ev
from ui.folding import View

EVIL = "<script>alert(1)</script>\"'`${x}"


def fold(*stream: ev.Event) -> View:
    view = View()
    for event in stream:
        view.add(event)
    return view


def status(**more: Any) -> dict[str, Any]:
    about = {
        "id": "ab12", "recipe": "sft", "target": "local", "state": "running", "step": 3, "metrics": {}, "artifacts": [],
        "progress": {"done": 3, "total": 10, "unit": "steps", "eta": 75.0}, "error": None, "reason": "", "ahead": None,
        "params": {"model": "m/x", "dataset": "sample/instructions", "adapter": "lora"}, "parent": "", "info": {},
        "mine": [], "yours": True, "public": False, "created": 1.0, "started": 2.0, "ended": None,
    }  # fmt: skip
    return about | more
