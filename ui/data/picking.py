"""Which dataset: a name, a split, a revision, an upload, a search of the Hub; and its card."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from backend.data.hub import LANGUAGES, LICENCES, SIZES, TASKS
from backend.errors import BadInput
from ui.data import told
from ui.data.desk import BUSY, PLAIN, PRESS, PRIVATE, Desk, Panel
from ui.data.grid import facts as facts_of
from ui.data.view import START
from ui.page import HIDDEN, shows
from ui.toasts import as_json, toasts
from ui.visitor import owner

MAIN = "main"  # the revision that is meant where none is named
TABLES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".xlsx", ".zip"]
FILES = [*TABLES, ".png", ".jpg", ".jpeg", ".webp", ".gif", ".wav", ".mp3", ".flac", ".ogg", ".m4a"]
# Where the files of a folder lie in it, which page.js noted when it was chosen.
PLACES = "(files, _) => [files, JSON.stringify(atelier.places)]"


@dataclass(frozen=True)
class Picking:
    """The components; `wire` says what happens when a dataset was picked."""

    dataset: gr.Dropdown
    part: gr.Dropdown
    revision: gr.Dropdown
    upload: gr.UploadButton
    folder: gr.UploadButton
    places: gr.Textbox
    facts: gr.HTML
    bring: gr.Button
    tune: gr.Button
    evaluate: gr.Button
    found: gr.HTML
    card: gr.Markdown
    panel: Panel


def build(desk: Desk) -> Picking:
    lab = desk.lab
    with gr.Row(elem_classes="beside"):
        dataset = gr.Dropdown(
            [entry.name for entry in lab.datasets("")], value=lab.datasets("")[0].name, label="Dataset",
            info="A sample, a file of yours, or owner/name on the Hub", allow_custom_value=True, scale=4,
            min_width=220, elem_id="data-dataset",
        )  # fmt: skip
        part = gr.Dropdown([], label="Split", visible=HIDDEN, min_width=140, elem_id="data-split")
        revision = gr.Dropdown(
            [], label="Revision", info="Branch, tag or commit", allow_custom_value=True, visible=HIDDEN, min_width=140,
            elem_id="data-revision",
        )  # fmt: skip
        upload = gr.UploadButton(
            "Upload files", file_types=FILES, file_count="multiple", scale=0, min_width=120, elem_id="data-upload"
        )
        folder = gr.UploadButton(
            "Upload a folder", file_count="directory", scale=0, min_width=130, elem_id="data-folder"
        )
        places = gr.Textbox("", visible=False)
    with gr.Row(elem_id="data-line"):
        facts = gr.HTML(elem_id="data-facts", **PLAIN)
        bring = gr.Button("Bring a part here", size="sm", scale=0, min_width=150, visible=HIDDEN, elem_id="data-bring")
        tune = gr.Button("Use for tuning", variant="primary", size="sm", scale=0, min_width=130, elem_id="data-tune")
        evaluate = gr.Button(
            "Use for evaluation", size="sm", scale=0, min_width=150, visible="evaluate" in desk.page.has,
            elem_id="data-evaluate",
        )  # fmt: skip
    with gr.Accordion("Find on the Hub", open=False, elem_id="data-hub"):
        words = gr.Textbox(
            placeholder="Words in the name, then Enter", show_label=False, container=False, elem_id="data-hub-words"
        )
        with gr.Row(elem_classes="fields"):
            filters = [
                gr.Dropdown([("any", ""), *choices], value="", label=label, min_width=120, elem_id=f"data-hub-{key}")
                for key, label, choices in (
                    ("task", "Task", TASKS),
                    ("language", "Language", LANGUAGES),
                    ("size", "Size", SIZES),
                    ("licence", "Licence", LICENCES),
                )
            ]
        look = gr.Button("Search", size="sm", scale=0, min_width=90, elem_id="data-hub-search")
        found = gr.HTML(elem_id="data-hub-found", js_on_load=PRESS, **PLAIN)
    with gr.Accordion("Card", open=False, visible=False, elem_id="data-card") as shown:
        card = gr.Markdown(elem_id="data-card-text", max_height=480)

    @toasts
    def on_search(request: gr.Request, *asked: str) -> str:
        source = desk.source(START, request)
        return told.repositories(lab.data.hub.search(source, *asked))

    @toasts
    def on_card(view: dict[str, Any], request: gr.Request) -> str:
        return lab.data.hub.card(desk.source(view, request)) or "*This dataset has no card.*"

    @toasts
    def on_revisions(view: dict[str, Any], request: gr.Request) -> Any:
        known = lab.data.hub.revisions(desk.source(view, request))
        return gr.update(choices=[(name, commit if " (" in name else name) for name, commit in known])

    for ask in (words.submit, look.click):
        ask(on_search, [words, *filters], found, **BUSY)
    shown.expand(on_card, desk.view, card, **BUSY)
    revision.focus(on_revisions, desk.view, revision, **PRIVATE)

    def begin(about: Mapping[str, Any]) -> Sequence[Any]:
        """Parts that belong to the dataset; its splits are put in by `begun`, which may ask the Hub."""
        return [
            about["dataset"],
            facts_of(about),
            gr.update(visible=shows(about["remote"])),
            gr.update(visible=shows(about["hub"]), value=about["view"]["revision"] or MAIN),
            gr.update(visible=about["hub"], open=False),
            "",
        ]

    panel = Panel([dataset, facts, bring, revision, shown, card], begin)
    return Picking(dataset, part, revision, upload, folder, places, facts, bring, tune, evaluate, found, card, panel)


def begun(desk: Desk, view: dict[str, Any], request: gr.Request, panels: Sequence[Panel]) -> list[Any]:
    """The view as it is now known, the splits, then a value for each part of the panels."""
    source = desk.source(view, request)
    view = view | {key: getattr(source, key) for key in ("dataset", "config", "split", "revision")}
    about = desk.lab.data.facts(source)
    there, now = desk.lab.data.hub.splits(source)
    splits = [
        (f"{config} / {split}", json.dumps([config, split])) for config, names in there.items() for split in names
    ]
    chosen = gr.update(choices=splits, value=json.dumps(now) if splits else None, visible=shows(len(splits) > 1))
    updates = [one for panel in panels for one in panel.begin(about | {"view": view})]
    return [view | {"dataset": about["dataset"]}, chosen, *updates]


def wire(
    desk: Desk, picking: Picking, panels: Sequence[Panel], head: Sequence[Any], then: Callable[[Any], None]
) -> None:
    """What picks a dataset fills `head`, then the rows are drawn."""
    lab = desk.lab

    @toasts
    def on_dataset(name: str, request: gr.Request) -> list[Any]:
        return begun(desk, START | {"dataset": name or ""}, request, panels)

    @toasts
    def on_found(event: gr.EventData, request: gr.Request) -> list[Any]:
        return begun(desk, START | {"dataset": event._data["name"]}, request, panels)

    @toasts
    def on_part(chosen: str, view: dict[str, Any], request: gr.Request) -> list[Any]:
        config, split = json.loads(chosen)
        kept = {key: view[key] for key in ("dataset", "revision")}
        return begun(desk, START | kept | {"config": config, "split": split}, request, panels)

    @toasts
    def on_revision(chosen: str, view: dict[str, Any], request: gr.Request) -> list[Any]:
        return begun(
            desk,
            START | {"dataset": view["dataset"], "revision": "" if chosen == MAIN else chosen or ""},
            request,
            panels,
        )

    @toasts
    def on_upload(paths: list[str], places: str, request: gr.Request) -> list[Any]:
        with tempfile.TemporaryDirectory() as packed:
            name = lab.upload(owner(request), one_file([Path(path) for path in paths], Path(packed), places))
        updates = begun(desk, START | {"dataset": name}, request, panels)
        updates[head.index(picking.dataset)] = gr.update(choices=desk.datasets(request), value=name)
        return updates

    @toasts
    def on_bring(view: dict[str, Any], request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        lab.data.bring(desk.source(view, request), say=lambda done, total: progress((done, total), unit="files"))
        return begun(desk, view, request, panels)

    @toasts
    def on_names(request: gr.Request) -> Any:
        return gr.update(choices=desk.datasets(request))

    busy = BUSY | {"show_progress_on": picking.dataset}
    picking.dataset.focus(on_names, None, picking.dataset, **PRIVATE)
    for picked in (
        picking.dataset.input(on_dataset, picking.dataset, head, **busy),
        picking.found.act(on_found, None, head, **busy),
        picking.part.input(on_part, [picking.part, desk.view], head, **busy),
        picking.revision.input(on_revision, [picking.revision, desk.view], head, **busy),
        picking.upload.upload(on_upload, [picking.upload, picking.places], head, **busy),
        picking.folder.upload(on_upload, [picking.folder, picking.places], head, js=PLACES, **busy),
        picking.bring.click(on_bring, desk.view, head, **busy),
    ):
        then(picked)


def one_file(paths: Sequence[Path], folder: Path, places: str = "") -> Path:
    """The one file itself, or a zip of all in `folder`.

    `places` is what the browser tells of a folder: a JSON list with the place of each file in it. Gradio brings the
    names alone; without places these must differ.
    """
    if len(paths) == 1:
        return paths[0]
    names = [path.name for path in paths]
    told = as_json(places or "[]", "What the browser tells of the folder")
    # Gradio takes odd letters out of names, so that only as many can be asked for, not the same
    if isinstance(told, list) and len(told) == len(names):
        inner = [PurePosixPath(str(place)).parent for place in told]
        names = [str(place / name) for place, name in zip(inner, names, strict=True)]
    if again := next((name for name, times in Counter(names).items() if times > 1), ""):
        raise BadInput(f"Two of the files are called {again[:80]!r}.", "Pack the folder as .zip and upload that.")
    packed = folder / f"{len(paths)} files.zip"
    with zipfile.ZipFile(packed, "w") as out:
        for path, name in zip(paths, names, strict=True):
            out.write(path, name)
    return packed
