"""The Data tab without a browser: what is pressed changes the view, and the view is what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from backend.lab import Lab
from tests.ui.drawing import ME, YOU, drawn, handler, outputs
from tests.ui.scripted import lab as scripted
from ui.data import shape
from ui.data.view import START
from ui.tabs import data
from ui.visitor import owner

VIEW: dict[str, Any] = START | {"dataset": "sample/instructions"}


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def visit(query: str) -> gr.Request:
    return gr.Request(Request({**ME.request.scope, "query_string": query.encode()}))


def pressed(**what: Any) -> gr.EventData:
    return gr.EventData(None, {key: str(value) for key, value in what.items()})


def test_the_rows_come_first_and_the_figures_after(lab: Lab) -> None:
    first, second = list(handler(drawn(data.build, lab), "draw")(VIEW, ME))
    assert "Rows 0–24 of 504" in first[1]
    assert "13 distinct" not in first[1]
    assert "13 distinct" in second[1]
    assert json.loads(first[3])["address"] == "tab=data&dataset=sample%2Finstructions"


def test_what_is_pressed_changes_the_view(lab: Lab) -> None:
    act = handler(drawn(data.build, lab), "on_act")
    up = act(VIEW, pressed(act="sort", column="topic"), ME)
    down = act(up, pressed(act="sort", column="topic"), ME)
    assert (up["sort"][0]["descending"], down["sort"][0]["descending"]) == (False, True)
    assert act(down, pressed(act="sort", column="topic"), ME)["sort"] == []
    one = [{"column": "topic", "op": "=", "value": "date"}]
    narrowed = act(VIEW | {"page": 3}, pressed(act="filter", filters=json.dumps(one)), ME)
    assert (narrowed["filters"], narrowed["page"]) == (one, 0)
    assert act(narrowed, pressed(act="filter", filters=json.dumps(one)), ME)["filters"] == one  # once is enough
    assert act(narrowed, pressed(act="drop", what="drop-0"), ME)["filters"] == []
    assert act(VIEW, pressed(act="jump", row=130), ME)["page"] == 5


def test_filters_are_typed_as_fields_or_as_sql(lab: Lab) -> None:
    blocks = drawn(data.build, lab)
    added = handler(blocks, "on_add")(VIEW, "topic", "=", "date", ME)
    first, _ = list(handler(blocks, "draw")(added, ME))
    where = json.loads(first[3])["where"]
    assert where == "\"topic\" = 'date'"
    assert handler(blocks, "on_where")(VIEW, where, ME)["filters"] == added["filters"]
    with pytest.raises(gr.Error, match="Run it as SQL"):
        handler(blocks, "on_where")(VIEW, "topic = 'a' OR topic = 'b'", ME)
    with pytest.raises(gr.Error, match="no column 'nope'"):
        handler(blocks, "on_add")(VIEW, "nope", "=", "date", ME)


def test_an_address_opens_the_same_view(lab: Lab) -> None:
    blocks = drawn(data.build, lab)
    view = "dataset=sample/instructions&where=topic%20%3D%20%27date%27&sort=-topic&p=2&row=3"
    updates = handler(blocks, "on_load")(visit(f"tab=data&{view}"))
    view = updates[0]
    assert (view["page"], view["sort"], view["filters"][0]["value"]) == (
        1,
        [{"column": "topic", "descending": True}],
        "date",
    )
    assert any("Row 3" in str(one) for one in updates)
    assert handler(blocks, "on_load")(visit(""))[0] == gr.skip()  # nothing is read


def test_an_address_that_leads_nowhere_says_why_where_the_rows_would_be(lab: Lab) -> None:
    *others, said = handler(drawn(data.build, lab), "on_load")(visit("tab=data&dataset=upload/none/<b>.csv"))
    assert all(one == gr.skip() for one in others)
    assert ("There is no" in said, "<b>.csv" in said) == (True, False)


def test_what_another_tab_wishes_is_opened_and_the_wish_is_done_with(lab: Lab) -> None:
    blocks = drawn(data.build, lab)
    look, parts = handler(blocks, "on_look"), outputs(blocks, "on_look")
    wish = {"dataset": "sample/preferences", "config": "", "split": "", "revision": ""}
    updates = look(wish | {"findings": "some-run"}, ME)
    assert updates[0] == START | wish
    assert updates[parts.index("data-quality")]["open"]
    assert [one.active for one in updates if isinstance(one, gr.Timer)] == [True]
    assert ("some-run" in updates, updates[-1]) == (True, {})
    assert "some-run" not in look(wish, ME)
    assert all(one == gr.skip() for one in look({}, ME))
    nothing = list(handler(blocks, "on_tab")(START, "sample/instructions", wish, ME))
    assert all(one == gr.skip() for one in nothing[0])  # whoever comes first: the tab's own first look gives way


def test_what_is_shown_goes_on_to_another_tab(lab: Lab) -> None:
    carry = handler(drawn(data.build, lab), "on_carry")
    assert carry(VIEW, ME)[0] == "sample/instructions"
    name, tabs = carry(VIEW | {"filters": [{"column": "topic", "op": "=", "value": "opposite"}]}, ME)
    assert (name.startswith("upload/"), tabs.selected) == (True, "tune")
    assert lab.look(name, owner(ME))["total"] == 48


def test_a_part_that_goes_along_is_called_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    facts = lab.data.facts
    monkeypatch.setattr(gr, "Info", said.append)
    monkeypatch.setattr(lab.data, "facts", lambda source: facts(source) | {"partial": "the first 512 MB"})
    carry = handler(drawn(data.build, lab), "on_carry")
    name = carry(VIEW | {"filters": [{"column": "topic", "op": "=", "value": "opposite"}]}, ME)[0]
    assert said == [f"These rows are a dataset of yours now: {name} (only the first 512 MB)"]


def test_an_upload_is_shown_and_another_may_not_look(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(data.build, lab)
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,<b>\n")
    view = handler(blocks, "on_upload")([str(file)], "", ME)[0]
    assert "&lt;b&gt;" in next(iter(handler(blocks, "draw")(view, ME)))[1]
    with pytest.raises(gr.Error, match="of yours"):
        list(handler(blocks, "draw")(view, YOU))


@pytest.mark.parametrize(
    ("kind", "slots", "step"),
    [
        ("rename", ("a", "b", ""), {"do": "rename", "columns": {"a": "b"}}),
        ("drop", ("a", "", ""), {"do": "drop", "columns": ["a"]}),
        ("chat", ("q", "a", ""), {"do": "chat", "user": "q", "assistant": "a"}),
        ("sample", ("5", "", ""), {"do": "sample", "rows": "5"}),
        ("without", ("3, 17", "", ""), {"do": "without", "rows": [3, 17]}),
        ("filter", ("", "", ""), {"do": "filter", "filters": []}),
    ],
)
def test_a_step_is_recorded_by_its_own_names(kind: str, slots: tuple[str, ...], step: dict[str, Any]) -> None:
    assert shape.step(kind, slots, []) == step


def test_a_step_is_tried_at_once_and_can_be_taken_back(lab: Lab) -> None:
    blocks = drawn(data.build, lab)
    done, _, shown, code = handler(blocks, "on_step")(VIEW, [], "sample", ME, "5", "", "")
    assert "5 rows came out" in shown
    assert "shuffle(seed=42)" in code["value"]
    assert handler(blocks, "on_steps")(VIEW, done, pressed(act="remove", step=0), ME)[0] == []
    with pytest.raises(gr.Error, match="Step"):
        handler(blocks, "on_step")(VIEW, [], "sample", ME, "none", "", "")
    lab.data.close()
