"""The Hub tab without a browser: what each press does, what is shown signed in, signed out and offline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from backend.lab import Lab
from backend.targets.hf_jobs import HfJobs
from tests.backend.hub.test_transfers import PIECE
from tests.localhub import ANN, Hub
from tests.localjobs import Jobs
from tests.ui.drawing import ME, drawn, handler, outputs
from ui.hub.desk import START
from ui.tabs import hub as tab
from ui.tabs import tune
from ui.visitor import owner

WHO = owner(ME)


class Event:
    """What the page tells of a press."""

    def __init__(self, **told: str) -> None:
        self._data = told


class Tab:
    """The tab as its visitor presses through it."""

    def __init__(self, lab: Lab) -> None:
        self.blocks = drawn(tab.build, lab)
        self.parts = outputs(self.blocks, "on_tab")
        self.shown: dict[str, Any] = {}
        self.view: dict[str, Any] = dict(START)
        self.take(handler(self.blocks, "on_tab")(self.view, ME))

    def take(self, values: list[Any]) -> None:
        self.view, self.shown = values[0], dict(zip(self.parts, values, strict=True))

    def press(self, act: str, **told: str) -> str:
        self.take(handler(self.blocks, "on_act")(self.view, Event(act=act, **told), ME))
        return str(self.shown["hub-body"])

    def wait(self) -> None:
        """Until the transfer has ended well, as the page's timer sees it."""
        while "checksums right" not in (told := handler(self.blocks, "on_tick")(self.view, ME)[0]):
            assert "Stop" in told, told
            time.sleep(0.05)


@pytest.fixture
def mine(hub: Hub, lab_of: Callable[..., Lab]) -> Tab:
    files = {"README.md": b"# Small\n\n<script>x</script>", "model.safetensors": b"m" * 5000, "model.bin": b"b" * 4000}
    hub.add("models", "ann/small", files, told={"pipeline_tag": "text-generation"})
    hub.add("models", "bob/found")
    return Tab(lab_of())


def test_signed_in_it_opens_on_my_repositories(mine: Tab) -> None:
    assert "<b>ann</b> · PRO · scopes: write · by HF_TOKEN" in mine.shown["hub-head"]
    assert "ann/small" in mine.shown["hub-body"]
    assert "bob/found" not in mine.shown["hub-body"]
    assert "Nothing has that" in mine.press("words", words="none like it")


def test_from_a_search_to_a_page_and_on_to_other_tabs(mine: Tab) -> None:
    mine.press("pane", pane="find")
    assert "bob/found" in mine.press("search", words="found")
    page = mine.press("open", kind="model", name="ann/small")
    assert "<h1>Small</h1>" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    wish = handler(mine.blocks, "on_wish")
    assert wish(Event(act="chat", kind="model", name="ann/small"), ME)[0] == ["ann/small", ""]
    assert wish(Event(act="tune", kind="model", name="ann/small"), ME)[1] == ["tune", "ann/small"]
    assert wish(Event(act="tune", kind="dataset", name="ann/rows"), ME)[2] == "ann/rows"
    assert "bob/found" in mine.press("back")


def test_what_is_mine_can_be_made_renamed_shown_and_deleted(mine: Tab, hub: Hub) -> None:
    assert "ann/new" in mine.press("create", name="new", private="on")
    assert hub.repositories["models", "ann/new"].private
    assert "ann/newer" in mine.press("rename", kind="model", name="ann/new", to="newer")
    mine.press("show", kind="model", name="ann/newer", private="")
    assert not hub.repositories["models", "ann/newer"].private
    with pytest.raises(gr.Error, match="nothing was deleted"):
        mine.press("delete", kind="model", name="ann/newer", typed="newer")
    assert "ann/newer" not in mine.press("delete", kind="model", name="ann/newer", typed="ann/newer")


def test_a_download_is_planned_seen_and_in_the_cache_afterwards(mine: Tab, lab_of: Callable[..., Lab]) -> None:
    mine.press("open", kind="model", name="ann/small")
    assert "5.03 kB in 2 files" in mine.press("plan", revision="")
    assert "9.03 kB in 3 files" in mine.press("plan", revision="", everything="on")
    mine.press("download", revision="", everything="")
    assert mine.shown["hub-transfers"].count("<li>") == 1
    mine.wait()
    cache = mine.press("pane", pane="cache")
    assert "ann/small" in cache
    assert "It frees 5.03 kB" in mine.press("cache-plan", name="model/ann/small")
    assert "Nothing from the Hub" in mine.press("cache-delete", names="model/ann/small")


def test_an_upload_comes_from_the_page(mine: Tab, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("n" * PIECE)
    mine.press("open", kind="model", name="ann/small")
    mine.take(handler(mine.blocks, "on_upload")(mine.view, [str(tmp_path / "notes.txt")], ME))
    mine.wait()
    assert hub.repositories["models", "ann/small"].files["notes.txt"] == b"n" * PIECE


def test_resources_and_learning_are_there(mine: Tab) -> None:
    machine = mine.press("pane", pane="machine")
    assert "Who holds memory" in machine
    assert "The server of this page" in machine
    assert machine.count("<svg") >= 3
    assert "2106.09685" in mine.press("pane", pane="learn")


def test_a_secret_s_value_never_comes_back(mine: Tab) -> None:
    assert "No secrets yet" in mine.press("pane", pane="secrets")
    page = mine.press("secret-put", name="WANDB_API_KEY", value="of-the-highest-order")
    assert "WANDB_API_KEY" in page
    assert "not given" in page
    assert (
        "Don&#x27;t give it" in (page := mine.press("secret-give", name="WANDB_API_KEY", given="1")) or "given" in page
    )
    assert "of-the-highest-order" not in str(mine.shown) + page
    assert "No secrets yet" in mine.press("secret-delete", name="WANDB_API_KEY")


def test_signed_out_searching_works_and_the_rest_says_what_it_needs(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "bob/found")
    out = Tab(lab_of(""))
    assert "Not signed in" in out.shown["hub-head"]
    assert "bob/found" in out.press("search", words="found")
    assert "not signed in" in out.press("pane", pane="mine")
    assert "Nothing from the Hub" in out.press("pane", pane="cache")


def test_offline_it_says_so_calmly_and_this_machine_is_there(
    hub: Hub,
    lab_of: Callable[..., Lab],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    lab = lab_of()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    off = Tab(lab)
    assert "can't be reached from here" in off.shown["hub-head"]
    assert "Nothing from the Hub is on this machine yet" in off.shown["hub-body"]
    assert "can&#x27;t be reached" in off.press("pane", pane="mine")
    assert "Who holds memory" in off.press("pane", pane="machine")


def test_rented_hardware_shows_its_price_in_tune(hub: Hub, lab_of: Callable[..., Lab], tmp_path: Path) -> None:
    Jobs(hub, tmp_path / "there")
    lab = lab_of()
    jobs = HfJobs(lab.settings.home, {})
    jobs.token = lab.token
    lab.targets = {**lab.targets, "hf_jobs": jobs}
    blocks = drawn(tune.build, lab)
    assert ("Hugging Face Jobs", "hf_jobs") in handler(blocks, "on_places")(ME)["choices"]
    row, hardware, measured = handler(blocks, "on_place")("hf_jobs", "", ME)
    assert row["visible"]
    assert measured is False, "what is rented measures nothing that nobody asked for"
    assert handler(blocks, "on_place")("fake", "", ME)[2] is True
    assert hardware["choices"][1] == ("Nvidia T4 - small · 16 GB · $0.40 an hour", "t4-small")
    typed = {"tune-target": "hf_jobs", "tune-hardware": "t4-small", "tune-limit": "5400"}
    parts = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_plan").inputs
    values = [typed.get(str(part.elem_id), part.value) for part in parts]
    told = handler(blocks, "on_plan")(ME, *values)[1]
    assert "At most $0.60: $0.40 an hour for Nvidia T4 - small, ended after 90 minutes" in told
    assert "It starts when the Hub has that hardware free" in told
    typed["tune-machines"] = "2"
    values = [typed.get(str(part.elem_id), part.value) for part in parts]
    summary, told = handler(blocks, "on_plan")(ME, *values)
    assert "on Hugging Face Jobs, 2 × t4-small" in summary
    assert "At most $1.20: $0.40 an hour for Nvidia T4 - small × 2 machines = $0.80, ended after 90 minutes" in told
    lab.token = lambda owner: ""
    assert [name for name, *_ in lab.places(WHO)] == ["fake"]


def test_a_visitor_may_keep_their_runs(hub: Hub, lab_of: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.tabs.hub.owner", lambda request: "user-ann")
    lab = lab_of(SPACE_ID="host/atelier")
    lab.token = lambda owner: ANN
    mine = Tab(lab)
    assert "can be kept in <b>ann/atelier-runs</b>, a private data set of yours" in mine.shown["hub-fits"]
    mine.press("keep")
    assert "are kept in <b>ann/atelier-runs</b> every few minutes" in mine.shown["hub-fits"]
    assert hub.repositories["datasets", "ann/atelier-runs"].private
    mine.press("open", kind="dataset", name="ann/atelier-runs")
    assert mine.shown["hub-fits"] == ""
    mine.press("back")
    mine.press("keep-no-more")
    assert "Keep mine there" in mine.shown["hub-fits"]


def test_the_owner_of_a_space_is_offered_other_hardware(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    space = hub.add("spaces", "ann/atelier")
    lab = lab_of(SPACE_ID="ann/atelier")
    lab.token = lambda owner: ANN
    lab.hub.is_keeper = lambda owner: True  # type: ignore[method-assign]
    mine = Tab(lab)
    mine.press("pane", pane="machine")
    assert "Nvidia T4 - small · 16 GB · $0.40 an hour" in mine.shown["hub-fits"]
    mine.press("upgrade", hardware="t4-small")
    assert space.told["hardware"]["flavor"] == "t4-small"
    mine.press("pane", pane="learn")
    assert mine.shown["hub-fits"] == ""
