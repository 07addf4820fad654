"""The Hub asked for a visitor: search with filters, cards, revisions, and private ones with their own sign-in alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backend.data import Data, Source
from backend.errors import BadInput, Gated, HubError, NotFound
from tests.datahub import MAIN, OLD
from tests.localhub import ANN, BOB, Hub

PUBLIC = Source("ann/public", "visitor-a")
PRIVATE = Source("ann/private", "visitor-a", token=ANN)


def test_a_search_sends_its_filters(data: Data, server: Hub) -> None:
    tags = ["license:mit", "task_categories:text-generation", "language:en", "size_categories:n<1K"]
    server.repositories["datasets", "ann/public"].told["tags"] = tags
    found = data.hub.search(PUBLIC, "ann/p", "text-generation", "en", "n<1K", "mit")
    assert [one["name"] for one in found] == ["ann/public"]
    assert (found[0]["downloads"], found[0]["gated"], found[0]["tags"]) == (7, False, [tags[0], tags[3]])
    for wish in (("summarization", "en", "n<1K", "mit"), ("text-generation", "de", "n<1K", "mit"),
                 ("text-generation", "en", "n>1T", "mit"), ("text-generation", "en", "n<1K", "gpl")):  # fmt: skip
        assert data.hub.search(PUBLIC, "ann/p", *wish) == []


def test_a_card_is_shown_without_its_settings(data: Data, server: Hub) -> None:
    assert data.hub.card(PUBLIC) == "# Rows\n\nNumbered *rows*."
    assert data.hub.card(replace(PUBLIC, revision=OLD)) == ""
    with pytest.raises(NotFound, match="ann/absent"):
        data.hub.card(Source("ann/absent", "visitor-a"))
    with pytest.raises(BadInput, match="not on the Hub"):
        data.hub.card(Source("sample/instructions", "visitor-a"))


def test_revisions_are_branches_tags_and_commits(data: Data, server: Hub) -> None:
    commits = [("Commit 1 (2026-05-28)", MAIN), ("Commit 0 (2026-05-28)", OLD)]
    assert data.hub.revisions(PUBLIC) == [("main", MAIN), ("v1", OLD), *commits]
    assert data.facts(replace(PUBLIC, revision="v1"))["rows"] == 2
    there = {"big": ["train"], "default": ["test", "train"]}
    assert data.hub.splits(PUBLIC) == (there, ("default", "train"))
    assert data.hub.splits(replace(PUBLIC, config="big")) == (there, ("big", "train"))


def test_a_name_tells_the_part_that_is_looked_at(data: Data, server: Hub) -> None:
    for source, name in (
        (PUBLIC, "ann/public"), (replace(PUBLIC, split="test"), "ann/public:test"),
        (replace(PUBLIC, config="big"), "ann/public:big/train"), (replace(PUBLIC, revision="v1"), "ann/public@v1"),
        (Source("ann/configs", "visitor-a"), "ann/configs:de/train"),  # `datasets` wants one to be named
        (Source("sample/preferences", "visitor-a", split="test"), "sample/preferences"),
    ):  # fmt: skip
        assert data.hub.named(source) == name
        again = Source(name, "visitor-a")
        assert data.rows(again, 0, 1) == data.rows(source, 0, 1)
        assert data.hub.named(again) == name
    assert data.facts(Source("ann/public@v1", "visitor-a"))["rows"] == 2


def test_a_sign_in_opens_what_it_may_for_its_visitor_alone(data: Data, server: Hub) -> None:
    assert data.rows(PRIVATE, 0, 1)["rows"][0][0] == 0
    assert ANN not in repr(PRIVATE)
    for other in (replace(PRIVATE, token=None), replace(PRIVATE, token=BOB)):
        with pytest.raises(NotFound, match="private"):
            data.rows(other, 0, 1)  # although it is open already
    with pytest.raises(Gated):
        data.facts(Source("ann/gated", "visitor-a"))


@pytest.mark.parametrize("name", ["http://10.0.0.1/x", "file:///etc/passwd", "hf://datasets/a/b", "a/b/c", "a b"])
def test_a_name_is_no_address(data: Data, name: str) -> None:
    with pytest.raises(BadInput, match="neither a sample"):
        data.facts(Source(name, "visitor-a"))


def test_without_the_hub_a_shared_server_shows_no_cache(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="can't be reached"):
        data.facts(PUBLIC)


def test_what_only_a_visitor_may_read_goes_along_as_a_copy_of_theirs(data: Data, server: Hub) -> None:
    assert data.carried(replace(PUBLIC, token=ANN, split="test")) == "ann/public:test"
    for name in ("ann/private", "ann/gated"):
        copy = data.carried(Source(name, "visitor-a", split="test", token=ANN))
        assert copy.startswith("upload/")
        assert [row[0] for row in data.rows(Source(copy, "visitor-a"))["rows"]] == list(range(5000, 5010))
        with pytest.raises(NotFound):
            data.rows(Source(copy, "visitor-b"))
