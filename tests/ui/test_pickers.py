from __future__ import annotations

from types import SimpleNamespace

from backend.catalog import Entry
from ui.pickers import models, room

TOLD = {
    "parameters": 1_240_000_000, "bytes": 2_480_000_000, "packed_bytes": 1_500_000_000, "context": 4096,
    "context_bytes": 134_000_000, "free": 12_300_000_000, "fits": True, "advice": "",
}  # fmt: skip


def test_what_a_model_takes_is_told_in_a_line():
    assert room(TOLD) == "1.24 B parameters · 4.0 GB, and 0.1 GB for 4,096 tokens · 12.3 GB free: fits"


def test_what_does_not_fit_says_what_to_do():
    told = room(TOLD | {"fits": False, "advice": "It needs <16 GB>."})
    assert told == "<b>It does not fit.</b> It needs &lt;16 GB&gt;."


def test_a_model_elsewhere_takes_nothing():
    assert room({}) == ""


def test_a_model_is_listed_with_where_it_comes_from():
    entries = [Entry("starter", "starter", "ready here"), Entry("a/b", "hub", "3 downloads"), Entry("models/c", "disk")]
    lab = SimpleNamespace(models=lambda query: entries)
    assert models(lab) == [("starter", "starter"), ("a/b · 3 downloads", "a/b"), ("models/c · disk", "models/c")]
