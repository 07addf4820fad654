"""Look at a dataset: rows with figures above them, filters, search, SQL, checks, reshaping. The address is the view.

The grid's HTML says what was pressed (`act`), the view (a small dict: what is shown, not the data) changes, and the
page is drawn from it. Figures follow the rows, so that the first rows never wait for them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui import notebooks
from ui.data import answers, picking, quality, rows, shape, sql, told
from ui.data.desk import BUSY, PRIVATE, Desk, ticket
from ui.data.view import LENGTH, START, acted, asked
from ui.page import Page
from ui.toasts import calmly, toasts


def build(lab: Lab, page: Page) -> None:
    tab = gr.context.Context.block
    desk = Desk(lab, page, gr.State(dict(START)))
    view = desk.view
    picked = picking.build(desk)
    table = rows.build(desk)
    console = sql.build(desk)
    checks = quality.build(desk)
    shaped = shape.build(desk)
    answered, (save_pairs, pair_inputs, on_pairs) = answers.build(desk)
    with gr.Accordion("Code", open=False, elem_id="data-code") as panel:
        code = gr.Code(language="python", label="The same rows in plain Python", interactive=False, max_lines=30)
        notebooks.beside(lab, code, "Rows of a dataset", "rows")

    panels = [picked.panel, table.panel, console, checks.panel, shaped.panel, answered]
    head = [view, picked.part, *[part for one in panels for part in one.parts]]

    def begin(name: str, request: gr.Request, **more: str) -> list[Any]:
        """A dataset that is named elsewhere, or was just made, is opened; `more` are keys of the view."""
        updates = picking.begun(desk, START | {"dataset": name} | more, request, panels)
        updates[head.index(picked.dataset)] = gr.update(choices=desk.datasets(request), value=name)
        return updates

    @toasts
    def on_tab(view: dict[str, Any], name: str, wish: dict[str, str], request: gr.Request) -> Generator[list[Any]]:
        """The first look: nothing is read before somebody comes. An address that names this tab is `on_load`'s.

        A later look draws nothing: the tab is as it was left. A wish of another tab is `on_look`'s.
        """
        if view["dataset"] or wish or request.query_params.get("tab") == "data":
            yield [gr.skip()] * (len(head) + len(table.drawn))
            return
        updates = picking.begun(desk, START | {"dataset": name}, request, panels)
        yield [*updates, *[gr.skip()] * len(table.drawn)]
        for some in table.draw(updates[0], request):
            yield [*[gr.skip()] * len(head), *some]

    def on_load(request: gr.Request) -> list[Any]:
        """The view that the address names; where it can't be shown, why not stands in the rows' place."""
        query = request.query_params
        if query.get("tab") != "data":
            return [gr.skip()] * (len(head) + 1)
        view = asked(query)
        view["filters"] = lab.data.filters(desk.source(view, request), query.get("where", ""))
        updates = picking.begun(desk, view, request, panels)
        if (number := str(query.get("row", ""))).isdigit():
            updates[head.index(table.opened)] = table.show_row(updates[0], int(number), request)
        return [*updates, gr.skip()]

    @toasts
    def on_look(wish: dict[str, str], request: gr.Request) -> list[Any]:
        """What another tab wishes to be opened; the wish is done with."""
        if not wish:
            return [gr.skip()] * (len(head) + 2)
        wish = dict(wish)
        run = wish.pop("findings", "")
        updates = begin(wish.pop("dataset"), request, **wish)
        if run:
            updates[head.index(checks.watched)], updates[head.index(checks.clock)] = run, gr.Timer(active=True)
        return [*updates, gr.update(open=True) if run else gr.skip(), {}]

    @toasts
    def on_found(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        """A finding's rows are shown."""
        return acted(view, event._data) or gr.skip()

    @toasts
    def on_found_row(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        return table.show_row(view, int(event._data["row"]), request) if event._data["act"] == "open" else gr.skip()

    @toasts
    def on_saved_pairs(view: dict[str, Any], prompt: str, first: str, second: str, request: gr.Request) -> list[Any]:
        return begin(on_pairs(view, prompt, first, second, request), request)

    @toasts
    def on_code(view: dict[str, Any], request: gr.Request) -> str:
        return lab.data.code(
            desk.source(view, request), offset=view["page"] * LENGTH, length=LENGTH, sort=view["sort"],
            filters=view["filters"], query=view["q"], within=view["within"], columns=view["columns"] or None,
        )  # fmt: skip

    def carried(tab: str) -> Any:
        """What is shown goes on to another tab: the same split of the same revision, or the rows that are left."""

        @toasts
        def on_carry(
            view: dict[str, Any],
            request: gr.Request,
            progress: gr.Progress = gr.Progress(),  # noqa: B008
        ) -> list[Any]:
            source = desk.source(view, request)
            name = lab.data.carried(
                source, view["filters"], view["q"], view["within"],
                say=lambda done, total: progress((done, total)), ticket=ticket(request, "carry"),
            )  # fmt: skip
            if name.startswith("upload/") and name != view["dataset"]:
                part = lab.data.facts(source)["partial"]
                gr.Info(f"These rows are a dataset of yours now: {name}{f' (only {part})' if part else ''}")
            return [name, gr.Tabs(selected=tab)]

        return on_carry

    def drawn(event: Any) -> None:
        event.success(table.on_draw, view, table.drawn, **PRIVATE)

    load = calmly(on_load, lambda error: [*[gr.skip()] * len(head), told.trouble(error)])
    drawn(page.blocks.load(load, None, [*head, table.grid], **PRIVATE))
    wished = page.look.change(on_look, page.look, [*head, checks.accordion, page.look], **PRIVATE)
    wished.failure(lambda: {}, None, page.look, **PRIVATE)
    drawn(wished)
    if isinstance(tab, gr.Tab):
        tab.select(on_tab, [view, picked.dataset, page.look], [*head, *table.drawn], **PRIVATE)
    picking.wire(desk, picked, panels, head, drawn)
    for event in (
        *table.changed,
        checks.found.act(on_found, view, view, **PRIVATE),
        shaped.save.click(shape.saver(desk, begin), [view, shaped.done, shaped.name], head, **BUSY),
        save_pairs.click(on_saved_pairs, pair_inputs, head, **BUSY),
    ):
        drawn(event)
    checks.found.act(on_found_row, view, table.opened, **PRIVATE)
    checks.found.act(shaped.on_without, [view, shaped.done], shaped.outputs, **PRIVATE)
    for button, tab_id, wish in ((picked.tune, "tune", page.dataset), (picked.evaluate, "evaluate", page.evaluate)):
        button.click(carried(tab_id), view, [wish, page.tabs], show_progress_on=picked.dataset, **BUSY)
    panel.expand(on_code, view, code, **PRIVATE)
