"""The Quality panel: checks now, or as a run that goes on when the page is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.jobs import ENDED
from ui.data import told
from ui.data.desk import BUSY, PLAIN, PRESS, PRIVATE, About, Desk, Panel, names, ticket
from ui.toasts import toasts
from ui.visitor import owner


@dataclass(frozen=True)
class Quality:
    """The panel, what it opens in, the HTML in which findings can be pressed, and the run that is watched."""

    panel: Panel
    accordion: gr.Accordion
    found: gr.HTML
    watched: gr.State
    clock: gr.Timer


def build(desk: Desk) -> Quality:
    lab, view = desk.lab, desk.view
    watched, clock = gr.State(""), gr.Timer(1.5, active=False)
    with gr.Accordion("Quality", open=False, elem_id="data-quality") as accordion:
        with gr.Row(elem_classes="fields"):
            column = gr.Dropdown([], label="Column with text", min_width=140, elem_id="data-checked")
            other = gr.Dropdown(
                [], label="Also look for leaks into", info="A dataset, or :test for another split of this one",
                allow_custom_value=True, min_width=140, elem_id="data-other",
            )  # fmt: skip
            earlier = gr.Dropdown([], label="Runs of checks", min_width=140, elem_id="data-checks")
        whole = gr.Checkbox(label="All rows, however many", elem_id="data-whole")
        with gr.Row(elem_classes="ways"):
            check = gr.Button("Check", variant="primary", size="sm", scale=0, min_width=90, elem_id="data-check")
            stop = gr.Button("Stop", size="sm", scale=0, min_width=70)
            launch = gr.Button("Check all as a run", size="sm", scale=0, min_width=150, elem_id="data-check-run")
        found = gr.HTML(
            '<p class="quiet">Duplicates, empty and odd lengths, languages, personal data: each a count, '
            "a sample and a filter.</p>", elem_id="data-found", js_on_load=PRESS, **PLAIN,
        )  # fmt: skip

    @toasts
    def on_check(
        view: dict[str, Any],
        column: str,
        other: str,
        whole: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        findings = lab.data.check(
            desk.source(view, request), column or "", other or "", whole=whole,
            say=lambda done, total: progress((done, total), unit="checks"), ticket=ticket(request, "check"),
        )  # fmt: skip
        return told.findings(findings)

    @toasts
    def on_launch(view: dict[str, Any], column: str, other: str, request: gr.Request) -> list[Any]:
        asked = {key: view[key] for key in ("dataset", "config", "split", "revision")}
        split = (other or "").strip()
        against = {"other_split": split[1:]} if split.startswith(":") else {"other": split}
        asked |= {"column": column or ""} | against
        run = lab.launch("quality", asked, owner(request))
        return [run.id, gr.Timer(active=True), told.waiting("queued", {})]

    @toasts
    def on_tick(run: str, request: gr.Request) -> list[Any]:
        """What the run is doing; its findings when it has ended."""
        status = lab.status(run, owner(request))
        if status["state"] == "finished":
            return [told.findings(lab.data.findings(run, owner(request))), gr.Timer(active=False)]
        return [told.waiting(status["state"], status), gr.Timer(active=status["state"] not in ENDED)]

    @toasts
    def on_earlier(view: dict[str, Any], request: gr.Request) -> Any:
        mine = [run for run in lab.runs(owner(request)) if run["recipe"] == "quality"]
        here = [run for run in mine if run["params"].get("dataset") == view["dataset"]]
        return gr.update(choices=[(f"{run['params'].get('column')} · {run['state']}", run["id"]) for run in here])

    check.click(on_check, [view, column, other, whole], found, **BUSY)
    stop.click(desk.stopper("check"), None, None, **PRIVATE)
    launch.click(on_launch, [view, column, other], [watched, clock, found], **BUSY)
    clock.tick(on_tick, watched, [found, clock], **PRIVATE)
    earlier.focus(on_earlier, view, earlier, **PRIVATE)
    earlier.input(lambda run: [run, gr.Timer(active=bool(run))], earlier, [watched, clock], **PRIVATE)
    other.focus(toasts(_names(desk)), None, other, **PRIVATE)

    def begin(about: About) -> Sequence[Any]:
        texts = names(about, "text", "chat", "nested")
        return [gr.update(choices=texts, value=texts[0] if texts else None), "", "", gr.Timer(active=False)]

    return Quality(Panel([column, found, watched, clock], begin), accordion, found, watched, clock)


def _names(desk: Desk) -> Any:
    def on_others(request: gr.Request) -> Any:
        return gr.update(choices=desk.datasets(request))

    return on_others
