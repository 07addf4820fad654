"""All that was measured on a dataset: table, pictures, settings, and taking them away."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from ui.evaluate import board
from ui.evaluate.desk import PRESS, PRIVATE, Desk
from ui.toasts import toasts
from ui.visitor import owner

EXPORTS = (".csv", ".md", ".json")
# Pictures as one PNG: each is drawn on a canvas in the colours that it has on the page.
PNG = Path(__file__).with_name("png.js").read_text()
_EMPTY = '<p class="empty">What you evaluate is compared here: models beside one another, costs, and how it went.</p>'


def build(desk: Desk, chosen: gr.Tab) -> None:
    """The panel, drawn when its tab is `chosen`."""
    lab = desk.lab
    with gr.Row(elem_classes="fields"):
        dataset = gr.Dropdown([], label="Dataset", min_width=180, elem_id="board-dataset")
        figure = gr.Dropdown([], label="Figure", min_width=160, elem_id="board-figure")
        across = gr.Dropdown(
            [(title, key) for key, (title, _) in board.ACROSS.items()], value="seconds", label="Against", min_width=160,
            elem_id="board-across",
        )  # fmt: skip
    table = gr.HTML(_EMPTY, elem_id="evaluate-board", padding=False)
    with gr.Row(elem_classes="ways"):
        form = gr.Dropdown(
            [(one[1:].upper(), one) for one in EXPORTS], value=EXPORTS[0], show_label=False, container=False, scale=0,
            min_width=110, elem_id="board-form",
        )  # fmt: skip
        export = gr.Button("Export", size="sm", scale=0, min_width=80, elem_id="board-export")
        png = gr.Button("Pictures as PNG", size="sm", scale=0, min_width=140, elem_id="board-png")
    pictures = gr.HTML(elem_id="evaluate-pictures", padding=False)
    with gr.Accordion("Settings beside results", open=False, elem_id="board-settings"):
        settings = gr.HTML(padding=False)
    shown = [dataset, figure, table, pictures, settings]

    def drawn(name: str, by: str, against: str, who: str) -> list[Any]:
        every = lab.evaluations.every(who)
        names = board.datasets(every)
        if not names:
            return [gr.update(choices=[], value=None), gr.update(choices=[], value=None), _EMPTY, "", ""]
        name = name if name in names else names[0]
        known = board.figures(every, name)
        by = by if by in dict(known).values() else (known[0][1] if known else "")
        return [
            gr.update(choices=names, value=name),
            gr.update(choices=known, value=by),
            board.table(every, name),
            board.pictures(every, name, by, against or "seconds"),
            board.settings(every, name, by),
        ]

    @toasts
    def on_board(name: str, by: str, against: str, request: gr.Request) -> list[Any]:
        return drawn(name or "", by or "", against, owner(request))

    @toasts
    def on_opened(name: str, by: str, against: str, run_id: str, request: gr.Request) -> list[Any]:
        """It begins with the dataset of the evaluation that is shown."""
        if not name and run_id:
            name = lab.evaluations.results(run_id, owner(request))["dataset"]
        return drawn(name or "", by or "", against, owner(request))

    @toasts
    def on_board_export(name: str, ending: str, request: gr.Request) -> str:
        folder = Path(desk.file.GRADIO_CACHE) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return str(lab.evaluations.board(owner(request), name or "", folder / f"leaderboard{ending}"))

    asked = [dataset, figure, across]
    chosen.select(on_opened, [*asked, desk.shown], shown, **PRIVATE)
    for changed in asked:
        changed.input(on_board, asked, shown, **PRIVATE)
    export.click(on_board_export, [dataset, form], desk.file, **PRIVATE).success(None, None, None, js=PRESS, **PRIVATE)
    png.click(None, None, None, js=PNG, **PRIVATE)
