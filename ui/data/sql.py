"""The SQL panel: a statement with completion, its result as a table or a chart, and as a file."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pandas

from ui.data import told
from ui.data.desk import BUSY, PLAIN, PRIVATE, About, Desk, Panel, fresh, names, ticket
from ui.page import HIDDEN, shows
from ui.toasts import toasts

CLICK = "() => { setTimeout(() => document.querySelector('#data-file')?.click(), 50); }"
COMPLETE = Path(__file__).with_name("complete.js").read_text()
CHARTS = ("Table", "Bars", "Line", "Points")
POINTS = 1_000  # of a chart
EMPTY = '<p class="quiet">The result will be here.</p>'  # how it goes on is told beside it
WORDS = (
    "SELECT", "FROM data", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "DISTINCT", "DESC", "BETWEEN", "ILIKE",
    "IS NULL", "IS NOT NULL", "USING SAMPLE", "CASE WHEN", "UNNEST(", "count(*)", "sum(", "avg(", "min(", "max(",
    "median(", "quantile_cont(", "stddev(", "length(", "lower(", "upper(", "regexp_matches(", "regexp_extract(",
    "contains(", "string_split(", "list_transform(", "len(", "round(", "coalesce(", "CAST(", "epoch(", "date_trunc(",
    "approx_count_distinct(",
)  # fmt: skip


def build(desk: Desk) -> Panel:
    data, view = desk.lab.data, desk.view
    past = gr.State([])  # earlier statements
    with gr.Accordion("SQL", open=False, elem_id="data-sql"):
        with gr.Row(elem_classes="fields"):
            example = gr.Dropdown([], label="Examples", min_width=140, elem_id="data-examples")
            earlier = gr.Dropdown([], label="History of this page", min_width=140, elem_id="data-history")
        statement = gr.Code(
            "SELECT * FROM data LIMIT 10", language="sql", lines=3, max_lines=12, interactive=True,
            label="One SELECT over the table data (DuckDB); Ctrl+Enter runs it", elem_id="data-statement",
        )  # fmt: skip
        words = gr.HTML(js_on_load=COMPLETE, elem_id="data-words", **PLAIN)
        with gr.Row(elem_classes="ways"):
            run = gr.Button("Run", variant="primary", size="sm", scale=0, min_width=90, elem_id="data-sql-run")
            stop = gr.Button("Stop", size="sm", scale=0, min_width=70, elem_id="data-sql-stop")
            exports = [
                gr.Button(kind, size="sm", scale=0, min_width=70, elem_id=f"data-export-{kind.lower()}")
                for kind in ("CSV", "JSONL", "Parquet")
            ]
        with gr.Row(elem_classes="fields"):
            kind = gr.Dropdown(CHARTS, value="Table", label="Shown as", min_width=110, elem_id="data-chart")
            across = gr.Dropdown([], label="Across", visible=HIDDEN, min_width=140, elem_id="data-chart-x")
            up = gr.Dropdown([], label="Up", visible=HIDDEN, min_width=140, elem_id="data-chart-y")
        answer = gr.HTML(EMPTY, elem_id="data-answer", **PLAIN)
        plots = [
            gr.BarPlot(visible=False, height=320, y_lim=[0, None], elem_id="data-bars"),
            gr.LinePlot(visible=False, height=320, elem_id="data-line-plot"),
            gr.ScatterPlot(visible=False, height=320, elem_id="data-points"),
        ]
    file = gr.DownloadButton("file", elem_id="data-file", visible=HIDDEN)

    @toasts
    def on_sql(
        view: dict[str, Any], query: str, past: list[str], kind: str, x: str, y: str, request: gr.Request
    ) -> list[Any]:
        rows = told.SHOWN if kind == "Table" else POINTS
        found = data.sql(desk.source(view, request), query, ticket(request, "sql"), rows=rows, count=True)
        past = [query, *(one for one in past if one != query)][:50]
        history = gr.update(choices=[(" ".join(one.split())[:80], one) for one in past])
        return [past, history, *charted(found, kind, x, y)]

    @toasts
    def on_examples(view: dict[str, Any], request: gr.Request) -> Any:
        source = desk.source(view, request)
        return gr.update(choices=told.examples(data.facts(source)["columns"], data.condition(source, view["filters"])))

    def on_export(kind: str) -> Any:
        @toasts
        def export(view: dict[str, Any], query: str, request: gr.Request) -> str:
            path = fresh(file) / f"result.{kind.lower()}"
            data.export(desk.source(view, request), query, path, ticket=ticket(request, "sql"))
            return str(path)

        return export

    asked = [view, statement, past, kind, across, up]
    filled = [past, earlier, answer, across, up, *plots]
    busy = BUSY | {"show_progress_on": kind}
    run.click(on_sql, asked, filled, **busy)
    for one in (kind, across, up):
        one.input(on_sql, asked, filled, trigger_mode="always_last", **busy)
    example.focus(on_examples, view, example, **PRIVATE)
    for one in (example, earlier):
        one.input(lambda chosen: chosen, one, statement, **PRIVATE)
    stop.click(desk.stopper("sql"), None, None, **PRIVATE)
    for button in exports:
        pressed = button.click(on_export(button.value), [view, statement], file, **BUSY)
        pressed.success(None, None, None, js=CLICK, **PRIVATE)

    def begin(about: About) -> Sequence[Any]:
        examples = gr.update(choices=told.examples(about["columns"], ""), value=None)
        chart = [
            "Table",
            gr.update(visible=HIDDEN),
            gr.update(visible=HIDDEN),
            *[gr.update(visible=False)] * len(plots),
        ]
        return [examples, EMPTY, completions(names(about)), *chart]

    return Panel([example, answer, words, kind, across, up, *plots], begin)


def completions(columns: Sequence[str]) -> str:
    """What can be completed, for the script beside the editor."""
    return f'<span hidden data-words="{html.escape(json.dumps([*columns, *WORDS], ensure_ascii=False))}"></span>'


def charted(found: Mapping[str, Any], kind: str, x: str, y: str) -> list[Any]:
    """The result's HTML, the two choices of columns, and the three plots: all but one hidden."""
    columns = [one["name"] for one in found["columns"]]
    numbers = [name for i, name in enumerate(columns) if any(_number(row[i]) for row in found["rows"])]
    x = x if x in columns else next((name for name in columns if name not in numbers[-1:]), columns[0])
    y = y if y in numbers else next((name for name in reversed(numbers) if name != x), "")
    drawn = kind in CHARTS[1:] and bool(y) and bool(found["rows"])
    shown = told.summary(found, POINTS) if drawn else told.result(found)
    if kind != "Table" and not drawn:
        shown = f'<p class="quiet">A chart needs a column of numbers.</p>{shown}'
    choices = [
        gr.update(choices=columns, value=x, visible=shows(kind != "Table")),
        gr.update(choices=numbers, value=y or None, visible=shows(kind != "Table")),
    ]
    plots = [
        gr.update(value=_frame(found, x, y), x=x, y=y, visible=True, **_ordered(found, x, kind))
        if drawn and kind == one
        else gr.update(visible=False)
        for one in CHARTS[1:]
    ]
    return [shown, *choices, *plots]


def _ordered(found: Mapping[str, Any], x: str, kind: str) -> dict[str, Any]:
    """Bars stand in the order of the result, as it was asked for."""
    at = [one["name"] for one in found["columns"]].index(x)
    words = [_short(row[at]) for row in found["rows"] if not _number(row[at])]
    return {"sort": list(dict.fromkeys(words))} if kind == "Bars" and words else {}


def _frame(found: Mapping[str, Any], x: str, y: str) -> Any:
    """The two columns as the plots want them; what is no number up is left out."""
    names = [one["name"] for one in found["columns"]]
    i, j = names.index(x), names.index(y)
    rows = [
        (row[i] if _number(row[i]) else _short(row[i]), row[j]) for row in found["rows"][:POINTS] if _number(row[j])
    ]
    return pandas.DataFrame(rows, columns=[x, y] if x != y else [x, f"{y} "])


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return "null" if value is None else str(value)[:60]
