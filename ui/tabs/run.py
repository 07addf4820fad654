"""One run, from its event log alone: how it goes, what it made, and what its owner can do with it.

A Timer asks once a second while the run lives. What the page has already is not sent again: a hidden field holds a
mark for each part, and only parts whose mark changed are built; of the log only the lines that are new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from backend import events as ev
from backend.lab import Lab
from backend.recipes import PICTURES, TRAINED
from ui import after, beside, charts, run_views, views
from ui.folding import View, Views
from ui.page import HIDDEN, PRIVATE, Page
from ui.toasts import toasts
from ui.visitor import owner

OPEN_LINK = """element.addEventListener("click", event => {
  const link = event.target.closest("a[data-run]");
  if (link) { event.preventDefault(); trigger("open", {run: link.dataset.run}); }
});"""
# The address follows the run shown, so that a reload, a shared link and a server that comes back find it again.
ADDRESS = """marks => {
  const url = new URL(location), run = marks ? JSON.parse(marks)[0] : "";
  if (run) url.searchParams.set("run", run); else url.searchParams.delete("run");
  url.searchParams.delete("tab");
  history.replaceState(history.state, "", url);
}"""
LOG = Path(__file__).parents[1].joinpath("log.js").read_text()

_TAKEN = {"adapter", "model", "gguf", *PICTURES}  # kinds of what a person takes away
_CODED = {*TRAINED, "evaluate", "harness"}  # recipes with a script of their own
_LOOKED_AT = {"dataset", "findings"}  # … and of what the Data tab shows


def build(lab: Lab, page: Page) -> None:
    held = Views(lab.watch)
    seen = gr.Textbox("", visible=False)
    timer = gr.Timer(1, active=False)
    file = gr.DownloadButton("file", elem_id="run-file", visible=HIDDEN)
    with gr.Column(elem_id="run-empty") as empty:
        tune = "tune" in page.has
        gr.HTML(f'<p class="empty">{views.no_runs(tune)}</p>', padding=False)
        start = gr.Button(
            "Go to Tune", variant="primary", size="sm", scale=0, min_width=120, visible=tune, elem_id="run-go-tune"
        )
    with gr.Column(visible=False, elem_id="run-view") as body:
        header = gr.HTML(elem_id="run-header", js_on_load=OPEN_LINK, padding=False)
        with gr.Row(elem_id="run-actions"):
            chat = _button("Chat with it", "run-chat", "primary")
            drawing = _button("Draw with it", "run-draw", "primary")
            look = _button("Open in Data", "run-look", "primary")
            save = _button("Stop and save", "run-save")
            cancel = _button("Cancel", "run-cancel")
            resume = _button("Resume", "run-resume", "primary")
            clone = _button("Clone and edit", "run-clone")
            ahead = _button("Move ahead", "run-ahead")
            behind = _button("Move behind", "run-behind")
            share = _button("Make public", "run-share")
        told = gr.HTML(elem_id="run-public", padding=False)
        with gr.Row(visible=False, elem_id="run-sure") as sure:
            gr.HTML("Cancel ends the run now. What it learned since its last checkpoint is lost.", padding=False)
            yes = _button("Cancel the run", "run-cancel-yes", "stop")
            no = _button("Let it run", "run-cancel-no")
        family = gr.HTML(elem_id="run-family", js_on_load=OPEN_LINK, padding=False)
        compared = gr.HTML(elem_id="run-beside", js_on_load=beside.PRESSES, padding=False)
        pictures = gr.HTML(elem_id="run-charts", js_on_load=charts.POINTING, padding=False)
        group = gr.HTML(elem_id="run-group", js_on_load=charts.POINTING, padding=False)
        samples = gr.HTML(elem_id="run-samples", padding=False)
        log = gr.HTML({}, html_template=run_views.LOG_PANE, js_on_load=LOG, elem_id="run-log", padding=False)
        with gr.Row(elem_id="run-files"):
            made = gr.HTML(elem_id="run-artifacts", padding=False)
            get_log = _button("Download log", "run-get-log")
        outcome = after.draw(lab, page, file)
        with gr.Accordion("Settings", open=False, elem_id="run-settings"):
            settings = gr.HTML(padding=False)
        with gr.Accordion("Code", open=False, elem_id="run-code") as panel:
            code = gr.Code(language="python", label="The same in plain Python", interactive=False, max_lines=40)

    buttons = [chat, drawing, look, save, cancel, resume, clone, ahead, behind, sure]
    parts = [share, told, family, compared, pictures, group, samples, log, made, outcome, settings, panel, code]
    shown = [empty, body, timer, header, *buttons, *parts, seen]

    def draw(run_id: str, marks: str, who: str) -> list[Any]:
        """An update for each of `shown`; `marks` tells what the page has."""
        if not run_id:
            return nothing()
        status, view = lab.status(run_id, who), held.look(run_id, who)
        before, *had = json.loads(marks or "[]") or [""]
        updates: list[Any] = []
        has: list[Any] = []
        yours = status["yours"]
        group = lab.outcomes.group(status["group"], who) if yours and status["group"] else []
        relatives = partial(lab.lineage, run_id, who) if yours else list
        follows = beside.follows(lab, status, who)
        better = beside.page(follows, status, lab.sequel.ROWS, "evaluate" in page.has)
        followed = beside.watched(follows, status)
        drawn = _parts(status, view, relatives, group, lambda: curves(group, who), better, followed)
        for part, old in zip(drawn, had if before == run_id else [None] * len(drawn), strict=True):
            has.append(part.mark)
            updates += [gr.skip()] * part.many if part.mark == old else part.make(old)
        return [*updates, gr.skip() if [before, *had] == [run_id, *has] else json.dumps([run_id, *has])]

    def curves(runs: list[dict[str, Any]], who: str) -> str:
        """The runs of a sweep side by side."""
        return run_views.sweep(runs, lab.outcomes.curves([one["id"] for one in runs], who))

    def nothing() -> list[Any]:
        """Updates for each of `shown` when there is no run to show."""
        frame = [gr.update(visible=True), gr.update(visible=False), gr.Timer(active=False)]
        return [*frame, *[gr.skip()] * (len(shown) - len(frame) - 1), ""]

    @toasts
    def show(run_id: str, request: gr.Request) -> list[Any]:
        return draw(run_id, "", owner(request))

    @toasts
    def tick(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        return draw(run_id, marks, owner(request))

    @toasts
    def on_save(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        lab.cancel(run_id, owner(request), save=True)
        return draw(run_id, marks, owner(request))

    @toasts
    def on_cancel(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        lab.cancel(run_id, owner(request), save=False)
        return draw(run_id, marks, owner(request))

    @toasts
    def on_resume(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        lab.resume(run_id, owner(request))
        return draw(run_id, marks, owner(request))

    @toasts
    def on_ahead(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        lab.move(run_id, "ahead", owner(request))
        return draw(run_id, marks, owner(request))

    @toasts
    def on_behind(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        lab.move(run_id, "behind", owner(request))
        return draw(run_id, marks, owner(request))

    @toasts
    def on_share(run_id: str, marks: str, request: gr.Request) -> list[Any]:
        who = owner(request)
        lab.sharing.publish(run_id, who, not lab.status(run_id, who)["public"])
        return draw(run_id, marks, who)

    @toasts
    def on_beside(run_id: str, marks: str, event: gr.EventData, request: gr.Request) -> list[Any]:
        lab.evaluations.compare(run_id, owner(request), 0 if str(event.rows) == "all" else lab.sequel.ROWS)
        return draw(run_id, marks, owner(request))

    @toasts
    def on_missed(run_id: str, request: gr.Request) -> Any:
        """The whole tail of the log, for a page that got a part and lacks what was before it."""
        return run_views.log(held.look(run_id, owner(request)))

    @toasts
    def on_chat(run_id: str, request: gr.Request) -> list[Any]:
        status = lab.status(run_id, owner(request))
        if any(row["kind"] == "model" for row in status["artifacts"]):
            return [[f"run/{run_id}", ""], gr.Tabs(selected="text")]
        return [[status["params"].get("model", ""), f"run/{run_id}"], gr.Tabs(selected="text")]

    @toasts
    def on_draw(run_id: str, request: gr.Request) -> list[Any]:
        params = lab.status(run_id, owner(request))["params"]
        return [
            [params.get("model", ""), f"run/{run_id}", params.get("instance_prompt", "")],
            gr.Tabs(selected="images"),
        ]

    @toasts
    def on_look(run_id: str, request: gr.Request) -> list[Any]:
        """The rows that it made, or those that it checked with what was found in them."""
        status = lab.status(run_id, owner(request))
        wish = {"dataset": f"run/{run_id}"}
        if status["recipe"] == "quality":
            names = ("dataset", "config", "split", "revision")
            wish = {name: str(status["params"][name]) for name in names} | {"findings": run_id}
        return [wish, gr.Tabs(selected="data")]

    @toasts
    def on_log(run_id: str, request: gr.Request) -> Any:
        path = after.fresh(file) / f"run-{run_id}.log"
        path.write_text(run_views.full_log(_all(lab, run_id, owner(request))))
        return str(path)

    @toasts
    def on_code(run_id: str, request: gr.Request) -> str:
        status = lab.status(run_id, owner(request))
        return lab.code(status["recipe"], status["params"], owner(request))

    page.run.change(show, page.run, shown, **PRIVATE).failure(nothing, None, shown, **PRIVATE)
    seen.change(None, seen, None, js=ADDRESS, **PRIVATE)
    timer.tick(tick, [page.run, seen], shown, queue=False, **PRIVATE)
    acts = ((save, on_save), (yes, on_cancel), (resume, on_resume), (ahead, on_ahead), (behind, on_behind))
    for button, act in (*acts, (share, on_share)):
        button.click(act, [page.run, seen], shown, **PRIVATE)
    cancel.click(lambda: gr.update(visible=True), None, sure, **PRIVATE)
    for button in (yes, no):
        button.click(lambda: gr.update(visible=False), None, sure, **PRIVATE)
    chat.click(on_chat, page.run, [page.chat_with, page.tabs], **PRIVATE)
    drawing.click(on_draw, page.run, [page.draw_with, page.tabs], **PRIVATE)
    look.click(on_look, page.run, [page.look, page.tabs], **PRIVATE)
    clone.click(lambda run_id: [run_id, gr.Tabs(selected="tune")], page.run, [page.clone, page.tabs], **PRIVATE)
    compared.beside(on_beside, [page.run, seen], shown, trigger_mode="once", **PRIVATE)
    compared.look(_looked, None, [page.evaluate, page.tabs], **PRIVATE)
    panel.expand(on_code, page.run, code, **PRIVATE)
    start.click(lambda: gr.Tabs(selected="tune"), None, page.tabs, **PRIVATE)
    for linking in (header, family):
        linking.open(_linked, None, page.run, **PRIVATE)
    log.missed(on_missed, page.run, log, **PRIVATE)
    after.download(get_log, on_log, page, file)


def _button(title: str, elem_id: str, variant: str = "secondary") -> gr.Button:
    return gr.Button(title, variant=variant, size="sm", elem_id=elem_id, scale=0, min_width=120)


@dataclass(frozen=True)
class _Part:
    """A part of the page: a JSON value that changes when it does, how many components, and their new values.

    `make` gets the mark that the page has, None for none.
    """

    mark: Any
    many: int
    make: Callable[[Any], list[Any]]


def _parts(
    status: Mapping[str, Any],
    view: View,
    lineage: Callable[[], list[dict[str, Any]]],
    group: Sequence[Mapping[str, Any]],
    compared: Callable[[], str],
    better: str,
    followed: bool,
) -> list[_Part]:
    """What is shown of a run, in the order of the components; `group` are the runs of its sweep, `better` tells how it
    does beside its base, `followed` whether that will change."""
    state, mine = status["state"], status["mine"]
    living = state in views.LIVING
    watched = living or followed or any(one["state"] in views.LIVING for one in group)
    stand = [[one["state"], round(8 * views.share(one))] for one in group]  # logs are read again to draw them
    kinds = {row["kind"] for row in status["artifacts"]}
    can = [
        bool(kinds & {"adapter", "model"}) and status["recipe"] not in ("reward", "export"),  # chat with it
        bool(kinds & {*PICTURES}),  # draw with it
        bool(kinds & _LOOKED_AT),  # open in Data
        state == "running",  # stop and save
        living,  # cancel
        state in ("paused", "failed", "cancelled"),  # resume
        status["recipe"] in TRAINED,  # clone
        status["id"] in mine[1:],  # move ahead
        status["id"] in mine[:-1],  # move behind
    ]
    can = [one and status["yours"] for one in can]
    takes = bool(kinds & _TAKEN) and status["yours"]
    head, made = run_views.header(status, view), run_views.artifacts(status)

    def family(_: Any) -> list[Any]:
        return [run_views.family(lineage(), status["id"])]

    def sweep() -> Any:
        return compared() if group else ""

    return [
        _Part(watched, 3, lambda _: [gr.update(visible=False), gr.update(visible=True), gr.Timer(active=watched)]),
        _Part(views.mark(head), 1, lambda _: [head]),
        _Part(can, 10, lambda _: [*(gr.update(visible=shown) for shown in can), gr.update(visible=False)]),
        _Part([status["public"], status["yours"]], 2, lambda _: _sharing(status)),
        _Part([state, followed], 1, family),
        _Part(views.mark(better), 1, lambda _: [better]),
        _Part(view.measured, 1, lambda _: [charts.page(view.curves())]),
        _Part(stand, 1, lambda _: [sweep()]),
        _Part(view.drawn, 1, lambda _: [run_views.samples(view)]),
        _Part(view.lines, 1, lambda had: [run_views.log(view, had or 0)]),
        _Part(views.mark(made), 1, lambda _: [made]),
        _Part(takes, 1, lambda _: [gr.update(visible=takes, open=False)]),
        _Part(views.mark(status["info"]), 1, lambda _: [run_views.settings(status)]),
        _Part("code", 2, lambda _: [gr.update(open=False, visible=status["recipe"] in _CODED), ""]),  # made when opened
    ]


def _sharing(status: Mapping[str, Any]) -> list[Any]:
    """The button that shows a run to everybody, and what that means while it does."""
    title = "Make private" if status["public"] else "Make public"
    link = f'<a href="?run={status["id"]}">this link</a>'
    words = f"Public: who has {link} sees charts, samples, settings and log. What it made stays yours."
    return [
        gr.update(value=title, visible=status["yours"]),
        f"<p class=quiet>{words}</p>" if status["public"] and status["yours"] else "",
    ]


def _all(lab: Lab, run_id: str, who: str) -> Iterator[ev.Event]:
    """Every event of a run up to now."""
    cursor = 0
    while True:
        events, after = lab.watch(run_id, who, cursor)
        if after == cursor:
            return
        cursor = after
        yield from events


def _looked(event: gr.EventData) -> list[Any]:
    """The answers behind what was found, in the Evaluate tab."""
    return [f"run/{str(event.run)[:64]}", gr.Tabs(selected="evaluate")]


def _linked(event: gr.EventData) -> str:
    return str(event.run)[:64]
