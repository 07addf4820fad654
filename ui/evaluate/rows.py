"""The rows behind the figures: filters, pages, and those that a cell or a group of errors opens."""

from __future__ import annotations

from typing import Any

import gradio as gr

from backend.evaluations import SHOWS
from ui import evaluate_views as drawn
from ui import views
from ui.evaluate.desk import PRIVATE, Desk, Panel, Told
from ui.page import HIDDEN, shows
from ui.toasts import toasts
from ui.visitor import owner

LENGTH = 10  # rows of a page


class Rows:
    """Its tab. `only` narrows the rows: {"cell": [model, reference, answer]} or {"numbers": […]}, {} for all."""

    def __init__(self, desk: Desk, table: gr.HTML) -> None:
        self.desk = desk
        self.offset, self.only = gr.State(0), gr.State({})
        with gr.Row(elem_id="evaluate-filters"):
            self.show = gr.Dropdown(
                [one.capitalize() for one in SHOWS], value="All", label="Show", min_width=150, elem_id="evaluate-show"
            )
            self.figure = gr.Dropdown([], label="By", min_width=150, elem_id="evaluate-figure")
            self.part = gr.Dropdown([], label="Where", min_width=150, elem_id="evaluate-slice")
            self.query = gr.Textbox(label="Find", max_lines=1, min_width=150, elem_id="evaluate-query")
        with gr.Row(elem_classes="ways"):
            self.chosen = gr.HTML(elem_id="evaluate-chosen", padding=False)
            self.every = gr.Button(
                "All rows again", size="sm", scale=0, min_width=120, visible=HIDDEN, elem_id="evaluate-every"
            )
        self.rows = gr.HTML(elem_id="evaluate-rows", padding=False)
        with gr.Row(elem_id="evaluate-pager"):
            self.back = gr.Button("Back", size="sm", scale=0, min_width=80, elem_id="evaluate-back")
            self.more = gr.Button("More", size="sm", scale=0, min_width=80, elem_id="evaluate-more")
        self.panel = Panel([self.figure, self.part], self._draw)
        filters = [self.show, self.figure, self.part, self.query]
        self._asked = ([desk.shown, self.offset, self.only, *filters],
                       [self.chosen, self.every, self.rows, self.back, self.more])  # fmt: skip
        self.look(table.change(lambda: [0, {}, "All"], None, [self.offset, self.only, self.show], **PRIVATE))
        for changed in (self.figure, self.part, self.show):
            self.look(changed.input(lambda: 0, None, self.offset, **PRIVATE))
        self.look(self.query.submit(lambda: 0, None, self.offset, **PRIVATE))
        for button, way in ((self.back, -LENGTH), (self.more, LENGTH)):
            self.look(button.click(lambda begin, way=way: max(0, begin + way), self.offset, self.offset, **PRIVATE))
        self.look(self.every.click(lambda: [{}, 0], None, [self.only, self.offset], **PRIVATE))

    def look(self, event: Any) -> None:
        """Show the rows when `event` is over."""
        event.then(self._rows(), *self._asked, **PRIVATE)

    def _draw(self, told: Told, who: str) -> list[Any]:
        figures = [(one["title"], one["figure"]) for one in told["figures"] if one["model"] == 0]
        parts = [("Everywhere", "")] + [
            (f"{column}: {value}", f"{column}\n{value}")
            for column, value in dict.fromkeys((one["column"], str(one["slice"])) for one in told["slices"])
        ]
        first = figures[0][1] if figures else ""
        return [gr.update(choices=figures, value=first), gr.update(choices=parts, value="")]

    def _rows(self) -> Any:
        lab = self.desk.lab

        @toasts
        def on_rows(
            run_id: str, begin: int, only: Any, how: str, by: str, where: str, words: str, request: gr.Request
        ) -> list[Any]:
            """A page of rows, and which of Back and More lead on."""
            if not run_id:
                return ["", gr.update(visible=HIDDEN), "", gr.skip(), gr.skip()]
            who = owner(request)
            told = lab.evaluations.results(run_id, who)
            column, _, value = (where or "").partition("\n")
            asked: dict[str, Any] = {"column": column, "value": value, "query": words or ""}
            note = ""
            if cell := only.get("cell"):
                asked |= {"b": int(cell[0]), "reference": cell[1], "answer": cell[2]}
                note = f"Only {views.text(cell[1])} answered as {views.text(cell[2])}."
            if numbers := only.get("numbers"):
                asked["numbers"] = numbers
                note = f"Only a group of {views.plural(len(numbers), 'error')}."
            found = lab.evaluations.rows(
                run_id, who, by or "", show=(how or "all").lower(), offset=begin, length=LENGTH, **asked
            )
            return [
                f'<p class="quiet">{note}</p>' if note else "",
                gr.update(visible=shows(only)),
                drawn.examples(told, found, by or "", begin),
                gr.update(interactive=begin > 0),
                gr.update(interactive=begin + LENGTH < found["total"]),
            ]

        return on_rows
