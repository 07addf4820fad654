"""The rows: search, filters, the grid with its figures, an opened row, tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ui.data import grid as grids
from ui.data import row as rows
from ui.data.desk import BUSY, PLAIN, PRESS, PRIVATE, About, Desk, Panel, names, ticket
from ui.data.view import LENGTH, acted, address, signed, unsigned
from ui.page import shows
from ui.toasts import toasts

OPS = ["contains", "=", "!=", "<", "<=", ">", ">=", "starts", "matches", "null", "not null"]
SOUND = 5_000_000  # bytes of a sound that is sent with an opened row
PLAYED = 1_000_000  # … with a page
# The address says the view; so do the fields, but never over what is being typed into one of them.
SAID = """line => {
  const told = JSON.parse(line), as_is = {__type__: "update"};
  const held = name => document.querySelector(name)?.contains(document.activeElement);
  if (document.querySelector("#tab-data")?.offsetParent)
    history.replaceState(history.state, "", location.pathname + "?" + told.address);
  return [held("#data-where") ? as_is : told.where, held("#data-query") ? as_is : told.query];
}"""


@dataclass(frozen=True)
class Rows:
    """The components; `drawn` are those that `on_draw` fills."""

    grid: gr.HTML
    opened: gr.HTML
    panel: Panel
    changed: Sequence[Any]  # events after which the view is drawn
    drawn: Sequence[Any]
    on_draw: Any
    draw: Any  # the same, for a handler that goes on
    show_row: Any


def build(desk: Desk) -> Rows:
    data, view = desk.lab.data, desk.view
    line = gr.Textbox("", visible=False)
    with gr.Row(elem_id="data-find"):
        query = gr.Textbox(
            placeholder="Search all text, then Enter", show_label=False, container=False, scale=3, min_width=180,
            elem_id="data-query",
        )  # fmt: skip
        index = gr.Button("Make an index", size="sm", scale=0, min_width=110, elem_id="data-index")
    with gr.Accordion("Filters, order and columns", open=False, elem_id="data-filters"):
        with gr.Row(elem_classes="fields"):
            column = gr.Dropdown([], label="Column", min_width=140, elem_id="data-column")
            op = gr.Dropdown(OPS, value="contains", label="Comparison", min_width=110, elem_id="data-op")
            value = gr.Textbox(label="Value", lines=1, max_lines=1, min_width=140, elem_id="data-value")
        with gr.Row(elem_classes="ways"):
            add = gr.Button("Add the filter", size="sm", scale=0, min_width=130, elem_id="data-add")
        where = gr.Textbox(
            label="The filters as SQL", info="Change it and press Enter", lines=1, max_lines=4, elem_id="data-where"
        )
        with gr.Row(elem_classes="fields"):
            order = gr.Dropdown(
                [], multiselect=True, label="Sorted by", info="In order of weight; or Shift and a click on a name",
                min_width=200, elem_id="data-order",
            )  # fmt: skip
            columns = gr.Dropdown(
                [], multiselect=True, label="Columns shown", info="In this order; none chosen shows all", min_width=200,
                elem_id="data-columns",
            )  # fmt: skip
            within = gr.Dropdown(
                [], multiselect=True, label="Columns searched", info="None chosen searches all text", min_width=200,
                elem_id="data-within",
            )  # fmt: skip
    chips = gr.HTML(elem_id="data-chips", js_on_load=PRESS, **PLAIN)
    grid = gr.HTML('<p class="quiet">The rows will be here.</p>', elem_id="data-grid", js_on_load=PRESS, **PLAIN)
    opened = gr.HTML(elem_id="data-row", js_on_load=PRESS, **PLAIN)
    with gr.Accordion("Tokens", open=False, elem_id="data-tokens"):
        with gr.Row(elem_classes="fields"):
            counted = gr.Dropdown([], label="Column with text", min_width=140, elem_id="data-counted")
            model = gr.Dropdown(
                [entry.name for entry in desk.lab.models()], value=desk.lab.models()[0].name, allow_custom_value=True,
                label="Tokenizer of", min_width=200, elem_id="data-tokenizer",
            )  # fmt: skip
        count = gr.Button("Count", size="sm", scale=0, min_width=90, elem_id="data-count")
        lengths = gr.HTML(elem_id="data-lengths", **PLAIN)

    drawn = [chips, grid, order, line]

    def draw(view: dict[str, Any], request: gr.Request) -> Generator[list[Any]]:
        """A value for each of `drawn`: the rows first, then the figures above them as they are known."""
        if not view["dataset"]:
            yield [gr.skip()] * len(drawn)
            return
        source = desk.source(view, request)
        shown = data.rows(
            source, view["page"] * LENGTH, LENGTH, sort=view["sort"], filters=view["filters"], query=view["q"],
            within=view["within"], columns=view["columns"] or None,
        )  # fmt: skip
        condition = data.condition(source, view["filters"])
        seen = media(shown, view, request)
        words = grids.chips(view)
        order_now = gr.update(value=[signed(one) for one in view["sort"]])
        said = {"address": address(view, condition), "where": condition, "query": view["q"]}
        told = [order_now, json.dumps(said, ensure_ascii=False)]
        yield [words, grids.grid(shown, view, {}, seen), *told]
        figures: dict[str, Any] = {}
        left = [one["name"] for one in shown["columns"][: grids.FIGURES]]
        for name in left:
            figures[name] = data.stats(source, name, view["filters"], whole=view["whole"])
            if view["whole"] or name == left[-1]:
                yield [gr.skip(), grids.grid(shown, view, figures, seen), *[gr.skip()] * len(told)]

    def media(shown: Mapping[str, Any], view: Mapping[str, Any], request: gr.Request) -> dict[tuple[int, int], str]:
        """Data URLs of the pictures and short sounds on a page, by (row, column) there."""
        source, found = desk.source(view, request), {}
        for j, one in enumerate(shown["columns"]):
            if one["kind"] == "image":
                for number, picture in data.thumbnails(source, shown["numbers"], one["name"]).items():
                    found[shown["numbers"].index(number), j] = _url("image/webp", picture)
            elif one["kind"] == "audio":
                for i, (number, row) in enumerate(zip(shown["numbers"], shown["rows"], strict=True)):
                    if row[j] and (row[j]["bytes"] or 0) <= PLAYED:
                        found[i, j] = _url(_sound(row[j]), data.media(source, number, one["name"]))
        return found

    @toasts
    def on_act(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        """Something in the grid or the chips was pressed."""
        if event._data.get("act") == "whole":
            return view | {"whole": True}
        return acted(view, event._data) or gr.skip()

    @toasts
    def on_open(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        pressed = event._data
        if pressed.get("act") == "close":
            return ""
        if pressed.get("act") != "open":
            return gr.skip()
        return show_row(view, int(pressed["row"]), request)

    def show_row(view: Mapping[str, Any], number: int, request: gr.Request) -> Any:
        """The row panel."""
        source = desk.source(view, request)
        cells, about = data.row(source, number), data.facts(source)["columns"]
        shown = {}
        for one in about:
            held = cells[one["name"]]
            if one["kind"] == "image" and held:
                for picture in data.thumbnails(source, [number], one["name"], 640).values():
                    shown[one["name"]] = _url("image/webp", picture)
            elif one["kind"] == "audio" and held and (held["bytes"] or 0) <= SOUND:
                shown[one["name"]] = _url(_sound(held), data.media(source, number, one["name"]))
        return rows.row(number, cells, about, shown)

    @toasts
    def on_ask(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        """The opened row goes to the Text tab as a message."""
        if event._data.get("act") != "ask":
            return [gr.skip(), gr.skip()]
        cells = data.row(desk.source(view, request), int(event._data["row"]))
        return [rows.question(cells), gr.Tabs(selected="text")]

    @toasts
    def on_add(view: dict[str, Any], column: str, op: str, value: str, request: gr.Request) -> dict[str, Any]:
        told = {"column": column, "op": op, "value": None if op.endswith("null") else value}
        changed = view | {"filters": [*view["filters"], told], "page": 0}
        data.condition(desk.source(view, request), changed["filters"])  # says what is wrong before it is shown
        return changed

    @toasts
    def on_where(view: dict[str, Any], condition: str, request: gr.Request) -> dict[str, Any]:
        return view | {"filters": data.filters(desk.source(view, request), condition), "page": 0}

    @toasts
    def on_index(
        view: dict[str, Any],
        within: list[str],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        data.index(
            desk.source(view, request), within, say=lambda done, total: progress((done, total), unit="rows"),
            ticket=ticket(request, "index"),
        )  # fmt: skip
        return "Indexed"

    @toasts
    def on_count(view: dict[str, Any], column: str, model: str, request: gr.Request) -> str:
        return grids.figure(data.tokens(desk.source(view, request), column or "", model or ""))

    index.click(on_index, [view, within], index, **BUSY)
    count.click(on_count, [view, counted, model], lengths, **BUSY)
    line.change(None, line, [where, query], js=SAID, **PRIVATE)
    grid.act(on_open, view, opened, **PRIVATE)
    opened.act(on_open, view, opened, **PRIVATE)
    opened.act(on_ask, view, [desk.page.message, desk.page.tabs], **PRIVATE)
    changed = [
        grid.act(on_act, view, view, **PRIVATE),
        chips.act(on_act, view, view, **PRIVATE),
        add.click(on_add, [view, column, op, value], view, **PRIVATE),
        where.submit(on_where, [view, where], view, **PRIVATE),
        query.submit(lambda view, q: view | {"q": q.strip(), "page": 0}, [view, query], view, **PRIVATE),
        order.input(_ordered, [view, order], view, **PRIVATE),
        columns.input(lambda view, names: view | {"columns": names}, [view, columns], view, **PRIVATE),
        within.input(lambda view, names: view | {"within": names, "page": 0}, [view, within], view, **PRIVATE),
    ]

    def begin(about: About) -> Sequence[Any]:
        every, texts, view = names(about), names(about, "text", "chat", "nested"), about["view"]
        ways = [(f"{name} {arrow}", sign + name) for name in every for arrow, sign in (("↑", ""), ("↓", "-"))]
        return [
            gr.update(choices=every, value=every[0]),
            gr.update(choices=ways, value=[signed(one) for one in view["sort"]]),
            gr.update(choices=every, value=list(dict.fromkeys(view["columns"]))),
            gr.update(choices=texts, value=list(dict.fromkeys(view["within"]))),
            gr.update(choices=texts, value=texts[0] if texts else None),
            "",
            "",
            gr.update(value="Make an index", visible=shows(texts and not about["remote"])),
        ]

    panel = Panel([column, order, columns, within, counted, lengths, opened, index], begin)
    return Rows(grid, opened, panel, changed, drawn, toasts(draw), draw, show_row)


def _ordered(view: dict[str, Any], order: list[str]) -> dict[str, Any]:
    """Of two ways for one column the later holds."""
    chosen = {one["column"]: one for one in map(unsigned, order)}
    return view | {"sort": list(chosen.values()), "page": 0}


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _sound(cell: Mapping[str, Any]) -> str:
    kinds = {
        ".mp3": "audio/mpeg",
        ".flac": "audio/flac",
        ".ogg": "audio/ogg",
        ".opus": "audio/ogg",
        ".m4a": "audio/mp4",
    }
    return kinds.get(Path(str(cell.get("path") or "")).suffix.lower(), "audio/wav")
