"""The list of what to read has its shape."""

from __future__ import annotations

import re

from backend.learn import KINDS, learn
from ui.shell import TABS

_PLACES = {
    "course": r"https://huggingface\.co/learn/[\w-]+/chapter\d+/\d+",
    "docs": r"https://huggingface\.co/docs/[\w./-]+",
    "paper": r"https://arxiv\.org/abs/\d{4}\.\d{4,5}",
}


def test_each_topic_belongs_to_a_tab_and_has_something_to_read() -> None:
    tabs = {key for key, *_ in TABS}
    for topic in learn():
        assert set(topic) == {"topic", "tab", "items"}
        assert topic["tab"] in tabs
        assert topic["items"]
    assert {topic["tab"] for topic in learn()} >= {"text", "data", "tune", "evaluate", "hub"}


def test_each_item_says_what_it_is_and_leads_there_once() -> None:
    items = [item for topic in learn() for item in topic["items"]]
    for item in items:
        assert set(item) == {"kind", "title", "url"}
        assert item["kind"] in KINDS
        assert item["title"]
        assert re.fullmatch(_PLACES[item["kind"]], item["url"]), item
    assert len({item["url"] for item in items}) == len(items)
