"""Look at a dataset: rows with figures above them, filters, search, SQL, checks, reshaping. The address is the view.

The grid's HTML says what was pressed (`act`), the view (a small dict: what is shown, not the data) changes, and the
page is drawn from it. Figures follow the rows, so that the first rows never wait for them.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui import data_views as views
from ui.page import Page
from ui.toasts import as_json, toasts
from ui.visitor import owner

FILES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".xlsx", ".zip"]
PLAIN: dict[str, Any] = {"padding": False, "apply_default_css": False}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
BUSY = PRIVATE | {"show_progress": "minimal"}
OPS = ["contains", "=", "!=", "<", "<=", ">", ">=", "starts", "matches", "null", "not null"]
SOUND = 5_000_000  # bytes of a sound that is sent with an opened row
STEPS: dict[str, tuple[str, ...]] = {  # what a step asks for, in the order of its fields
    "chat": ("User", "Assistant", "System prompt"),
    "prompt_completion": ("Prompt", "Completion"),
    "preference": ("Prompt", "Chosen", "Rejected"),
    "label": ("Text", "Label"),
    "rename": ("Column", "New name"),
    "cast": ("Column", "Type: string, int64, float64 or bool"),
    "drop": ("Column",),
    "filter": (),
    "sample": ("Rows", "Seed"),
    "shuffle": ("Seed",),
    "concatenate": ("Dataset with the same columns",),
    "split": ("Share for the test", "Seed"),
}
# What is pressed is told with its data; the place to which a table was scrolled is kept when its figures arrive.
PRESS = """element.addEventListener("click", async event => {
  const pressed = event.target.closest("[data-act], [data-copy]");
  if (!pressed) return;
  event.preventDefault();
  const what = pressed.dataset.copy;
  if (!what) return trigger("act", {...pressed.dataset});
  const panel = pressed.closest(".row-panel"), link = new URL(location);
  link.searchParams.set("row", panel.dataset.row);
  const words = what === "link" ? String(link) : panel.querySelector(`[data-${what}]`).textContent;
  await navigator.clipboard.writeText(words);
  pressed.textContent = "Copied";
});
element.addEventListener("change", event => {
  if (event.target.matches("[data-jump]")) trigger("act", {act: "jump", row: event.target.value});
});
let left = 0;
element.addEventListener("scroll", event => { left = event.target.scrollLeft; }, true);
watch("value", () => { const box = element.querySelector(".table-scroll"); if (box) box.scrollLeft = left; });"""
ADDRESS = """query => {
  if (!query || !document.querySelector("#tab-data")?.offsetParent) return;
  history.replaceState(history.state, "", location.pathname + "?" + query);
}"""
CLICK = "() => { setTimeout(() => document.querySelector('#data-file')?.click(), 50); }"


def build(lab: Lab, page: Page) -> None:
    data = lab.data
    tab = gr.context.Context.block
    view, done, told = gr.State(dict(views.START)), gr.State([]), gr.State([])  # told: earlier statements
    address = gr.Textbox("", visible=False)
    with gr.Row(elem_classes="beside"):
        dataset = gr.Dropdown(
            [entry.name for entry in lab.datasets("")], value=lab.datasets("")[0].name, label="Dataset",
            info="A sample, a file of yours, or owner/name on the Hub", allow_custom_value=True, scale=4,
            min_width=220, elem_id="data-dataset",
        )  # fmt: skip
        part = gr.Dropdown([], label="Split", visible=False, min_width=140, elem_id="data-split")
        upload = gr.UploadButton("Upload a file", file_types=FILES, scale=0, min_width=130, elem_id="data-upload")
        tune = gr.Button("Use for tuning", variant="primary", scale=0, min_width=130, elem_id="data-tune")
    with gr.Row(elem_id="data-line"):
        facts = gr.HTML(elem_id="data-facts", **PLAIN)
        bring = gr.Button("Bring a part here", size="sm", scale=0, min_width=150, visible=False, elem_id="data-bring")
    with gr.Row(elem_id="data-find"):
        query = gr.Textbox(
            placeholder="Search all text, then Enter", show_label=False, container=False, scale=3, min_width=180,
            elem_id="data-query",
        )  # fmt: skip
        index = gr.Button("Make an index", size="sm", scale=0, min_width=110, elem_id="data-index")
    with gr.Accordion("Filters and columns", open=False, elem_id="data-filters"):
        with gr.Row(elem_classes="fields"):
            column = gr.Dropdown([], label="Column", min_width=140, elem_id="data-column")
            op = gr.Dropdown(OPS, value="contains", label="Comparison", min_width=110, elem_id="data-op")
            value = gr.Textbox(label="Value", lines=1, max_lines=1, min_width=140, elem_id="data-value")
        with gr.Row(elem_classes="ways"):
            add = gr.Button("Add the filter", size="sm", scale=0, min_width=130, elem_id="data-add")
        where = gr.Textbox(
            label="The filters as SQL", info="Change it and press Enter", lines=1, max_lines=4, elem_id="data-where"
        )
        columns = gr.Dropdown(
            [], multiselect=True, label="Columns shown", info="In this order; none chosen shows all",
            elem_id="data-columns",
        )  # fmt: skip
    chips = gr.HTML(elem_id="data-chips", js_on_load=PRESS, visible=False, **PLAIN)
    grid = gr.HTML(
        '<p class="quiet">The rows will be here.</p>', elem_id="data-grid", js_on_load=PRESS, **PLAIN
    )  # fmt: skip
    opened = gr.HTML(elem_id="data-row", js_on_load=PRESS, **PLAIN, visible=False)

    with gr.Accordion("SQL", open=False, elem_id="data-sql"):
        with gr.Row(elem_classes="fields"):
            example = gr.Dropdown([], label="Examples", min_width=140, elem_id="data-examples")
            earlier = gr.Dropdown([], label="History of this page", min_width=140, elem_id="data-history")
        sql = gr.Code(
            "SELECT * FROM data LIMIT 10", language="sql", label="One SELECT over the table data (DuckDB)", lines=3,
            max_lines=12, interactive=True, elem_id="data-statement",
        )  # fmt: skip
        with gr.Row(elem_classes="ways"):
            run = gr.Button("Run", variant="primary", size="sm", scale=0, min_width=90, elem_id="data-sql-run")
            stop = gr.Button("Stop", size="sm", scale=0, min_width=70, elem_id="data-sql-stop")
            exports = [
                gr.Button(kind, size="sm", scale=0, min_width=70, elem_id=f"data-export-{kind.lower()}")
                for kind in ("CSV", "JSONL", "Parquet")
            ]
        answer = gr.HTML(elem_id="data-answer", **PLAIN)
    with gr.Accordion("Quality", open=False, elem_id="data-quality"):
        with gr.Row(elem_classes="fields"):
            checked = gr.Dropdown([], label="Column with text", min_width=140, elem_id="data-checked")
            other = gr.Dropdown(
                [], label="Also look for leaks into", allow_custom_value=True, min_width=140, elem_id="data-other"
            )
            whole = gr.Checkbox(label="All rows, however many", elem_id="data-whole")
        with gr.Row(elem_classes="ways"):
            check = gr.Button("Check", variant="primary", size="sm", scale=0, min_width=90, elem_id="data-check")
            stop_check = gr.Button("Stop", size="sm", scale=0, min_width=70)
        found = gr.HTML(
            '<p class="quiet">Duplicates, empty and odd lengths, languages, personal data: each a count, '
            "a sample and a filter.</p>", elem_id="data-found", js_on_load=PRESS, **PLAIN,
        )  # fmt: skip
    with gr.Accordion("Shape it", open=False, elem_id="data-shape"):
        steps = gr.HTML(views.steps([]), elem_id="data-steps", js_on_load=PRESS, **PLAIN)
        with gr.Row(elem_classes="fields"):
            kinds = [(kind.replace("_", "-"), kind) for kind in STEPS]
            kind = gr.Dropdown(kinds, value="chat", label="Step", min_width=140, elem_id="data-step")
            slots = [
                gr.Dropdown([], label=label, allow_custom_value=True, min_width=140, elem_id=f"data-slot-{i}")
                for i, label in enumerate(STEPS["chat"])
            ]
        with gr.Row(elem_classes="ways"):
            append = gr.Button("Add the step", size="sm", scale=0, min_width=120, elem_id="data-step-add")
            name = gr.Textbox(
                placeholder="Name of the new dataset", show_label=False, container=False, scale=1, min_width=160,
                elem_id="data-save-name",
            )  # fmt: skip
            save = gr.Button(
                "Save as dataset", variant="primary", size="sm", scale=0, min_width=140, elem_id="data-save"
            )
        preview = gr.HTML(elem_id="data-preview", **PLAIN)
        recipe = gr.Code(
            language="python", label="The same in plain Python", interactive=False, visible=False, max_lines=30,
            elem_id="data-recipe",
        )  # fmt: skip
    with gr.Accordion("Code", open=False, elem_id="data-code") as panel:
        code = gr.Code(language="python", label="The same rows in plain Python", interactive=False, max_lines=30)
    file = gr.DownloadButton("file", elem_id="data-file", visible="hidden")

    choices = [column, columns, checked, *slots]
    head = [view, dataset, part, facts, bring, *choices, example, opened, done, steps, preview, recipe, answer, index]
    drawn = [chips, grid, where, query, address]

    def source(view: Mapping[str, Any], who: str) -> tuple[str, str, str, str]:
        return view["dataset"], who, view["config"], view["split"]

    def begun(view: dict[str, Any], who: str) -> list[Any]:
        """A value for each of `head`: what belongs to the dataset, whatever rows are shown of it."""
        about = data.facts(*source(view, who))
        splits = [
            (f"{config} / {split}", json.dumps([config, split]))
            for config, names in data.splits(view["dataset"], who).items()
            for split in names
        ]
        now = json.dumps([view["config"], view["split"]])
        names = [one["name"] for one in about["columns"]]
        texts = [one["name"] for one in about["columns"] if one["kind"] in ("text", "chat", "nested")]
        shown = dict.fromkeys(view["columns"])
        return [
            view | {"dataset": about["dataset"]},
            about["dataset"],
            gr.update(
                choices=splits,
                value=now if now in [key for _, key in splits] else None,
                visible=len(splits) > 1,
            ),
            views.facts(about),
            gr.update(visible=about["remote"]),
            gr.update(choices=names, value=names[0]),
            gr.update(choices=names, value=list(shown)),
            gr.update(choices=texts, value=texts[0] if texts else None),
            *[gr.update(choices=names, value="") for _ in slots],
            gr.update(choices=views.examples(about["columns"], ""), value=None),
            gr.update(value="", visible=False),
            [],
            views.steps([]),
            "",
            gr.update(visible=False),
            "",
            gr.update(value="Make an index", visible=bool(texts) and not about["remote"]),
        ]

    def page_of(view: Mapping[str, Any], who: str) -> dict[str, Any]:
        return data.rows(
            *source(view, who),
            view["page"] * views.LENGTH,
            views.LENGTH,
            sort=[view["sort"]] if view["sort"] else [],
            filters=view["filters"],
            query=view["q"],
            columns=view["columns"] or None,
        )

    @toasts
    def on_draw(view: dict[str, Any], request: gr.Request) -> Generator[list[Any]]:
        """A value for each of `drawn`: the rows first, then the figures above them as they are known."""
        if not view["dataset"]:
            yield [gr.skip()] * len(drawn)
            return
        who = owner(request)
        shown = page_of(view, who)
        condition = data.condition(*source(view, who), view["filters"])
        pictures = {
            (shown["numbers"].index(number), j): _url("image/webp", picture)
            for j, one in enumerate(shown["columns"])
            if one["kind"] == "image"
            for number, picture in data.thumbnails(*source(view, who), shown["numbers"], one["name"]).items()
        }
        line = views.address(view, condition)
        words = gr.update(value=views.chips(view), visible=bool(views.chips(view)))
        yield [words, views.grid(shown, view, {}, pictures), condition, view["q"], line]
        figures = {
            one["name"]: data.stats(*source(view, who), one["name"]) for one in shown["columns"][: views.FIGURES]
        }
        yield [gr.skip(), views.grid(shown, view, figures, pictures), *[gr.skip()] * (len(drawn) - 2)]

    @toasts
    def on_dataset(name: str, request: gr.Request) -> list[Any]:
        return begun(views.START | {"dataset": name or ""}, owner(request))

    @toasts
    def on_part(chosen: str, view: dict[str, Any], request: gr.Request) -> list[Any]:
        config, split = json.loads(chosen)
        return begun(
            views.START | {"dataset": view["dataset"], "config": config, "split": split}, owner(request)
        )  # fmt: skip

    @toasts
    def on_tab(view: dict[str, Any], name: str, request: gr.Request) -> list[Any]:
        """The first look: nothing is read before somebody comes."""
        return [gr.skip()] * len(head) if view["dataset"] else begun(views.START | {"dataset": name}, owner(request))

    @toasts
    def on_load(request: gr.Request) -> list[Any]:
        """The view that the address names."""
        asked = request.query_params
        if asked.get("tab") != "data":
            return [gr.skip()] * len(head)
        view, who = _asked(asked), owner(request)
        view["filters"] = data.filters(*source(view, who), asked.get("where", ""))
        updates = begun(view, who)
        if (number := str(asked.get("row", ""))).isdigit():
            updates[head.index(opened)] = show_row(updates[0], int(number), who)
        return updates

    @toasts
    def on_names(request: gr.Request) -> Any:
        return gr.update(choices=[entry.name for entry in lab.datasets(owner(request))])

    @toasts
    def on_upload(path: str, request: gr.Request) -> list[Any]:
        who = owner(request)
        name = lab.upload(who, Path(path))
        updates = begun(views.START | {"dataset": name}, who)
        updates[1] = gr.update(choices=[entry.name for entry in lab.datasets(who)], value=name)
        return updates

    @toasts
    def on_bring(view: dict[str, Any], request: gr.Request, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        data.bring(*source(view, owner(request)), say=lambda done, total: progress((done, total), unit="files"))
        return begun(view, owner(request))

    @toasts
    def on_index(view: dict[str, Any], request: gr.Request, progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008
        data.index(*source(view, owner(request)), say=lambda done, total: progress((done, total), unit="rows"))
        return "Indexed"

    @toasts
    def on_act(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        """Something in the grid, the chips or the findings was pressed."""
        return _acted(view, event._data)

    @toasts
    def on_open(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> Any:
        pressed = event._data
        if pressed.get("act") == "close":
            return gr.update(value="", visible=False)
        if pressed.get("act") != "open":
            return gr.skip()
        return show_row(view, int(pressed["row"]), owner(request))

    def show_row(view: Mapping[str, Any], number: int, who: str) -> Any:
        """The row panel."""
        cells = data.row(*source(view, who), number)
        about = data.facts(*source(view, who))["columns"]
        media = {}
        for one in about:
            held = cells[one["name"]]
            if one["kind"] == "image" and held:
                for picture in data.thumbnails(*source(view, who), [number], one["name"], 640).values():
                    media[one["name"]] = _url("image/webp", picture)
            elif one["kind"] == "audio" and held and (held["bytes"] or 0) <= SOUND:
                media[one["name"]] = _url(_sound(held), data.media(*source(view, who), number, one["name"]))
        return gr.update(value=views.row(number, cells, about, media), visible=True)

    @toasts
    def on_add(view: dict[str, Any], column: str, op: str, value: str, request: gr.Request) -> dict[str, Any]:
        told = {"column": column, "op": op, "value": None if op.endswith("null") else value}
        changed = view | {"filters": [*view["filters"], told], "page": 0}
        data.condition(*source(view, owner(request)), changed["filters"])  # says what is wrong before it is shown
        return changed

    @toasts
    def on_where(view: dict[str, Any], condition: str, request: gr.Request) -> dict[str, Any]:
        return view | {"filters": data.filters(*source(view, owner(request)), condition), "page": 0}

    @toasts
    def on_sql(view: dict[str, Any], query: str, told: list[str], request: gr.Request) -> list[Any]:
        answer = data.sql(*source(view, owner(request)), query, ticket=_ticket(request, "sql"))
        told = [query, *(one for one in told if one != query)][:50]
        return [views.result(answer), told, gr.update(choices=[(" ".join(one.split())[:80], one) for one in told])]

    def on_export(kind: str) -> Any:
        @toasts
        def export(view: dict[str, Any], query: str, request: gr.Request) -> str:
            path = _fresh(file) / f"result.{kind.lower()}"
            data.export(*source(view, owner(request)), query, path, ticket=_ticket(request, "sql"))
            return str(path)

        return export

    @toasts
    def on_examples(view: dict[str, Any], request: gr.Request) -> Any:
        who = owner(request)
        about, condition = data.facts(*source(view, who)), data.condition(*source(view, who), view["filters"])
        return gr.update(choices=views.examples(about["columns"], condition))

    @toasts
    def on_check(
        view: dict[str, Any],
        column: str,
        other: str,
        whole: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        findings = data.check(
            *source(view, owner(request)), column or "", other or "", whole=whole,
            say=lambda done, total: progress((done, total), unit="checks"), ticket=_ticket(request, "check"),
        )  # fmt: skip
        return views.findings(findings)

    @toasts
    def on_step(view: dict[str, Any], done: list[Any], kind: str, request: gr.Request, *slots: str) -> list[Any]:
        return tried(view, [*done, _step(kind, slots, view["filters"])], owner(request))

    @toasts
    def on_steps(view: dict[str, Any], done: list[Any], event: gr.EventData, request: gr.Request) -> list[Any]:
        """A step is taken back."""
        left = [one for i, one in enumerate(done) if str(i) != str(event._data.get("step"))]
        return tried(view, left, owner(request))

    def tried(view: Mapping[str, Any], done: list[Any], who: str) -> list[Any]:
        if not done:
            return [[], views.steps([]), "", gr.update(visible=False)]
        shown = data.preview(*source(view, who), done)
        return [done, views.steps(done), views.shaped(shown), gr.update(value=shown["code"], visible=True)]

    @toasts
    def on_save(
        view: dict[str, Any],
        done: list[Any],
        name: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        who = owner(request)
        made = data.save(
            *source(view, who), done, name, say=lambda done, total: progress((done, total), unit="steps"),
            ticket=_ticket(request, "save"),
        )  # fmt: skip
        updates = begun(views.START | {"dataset": made[0]}, who)
        updates[1] = gr.update(choices=[entry.name for entry in lab.datasets(who)], value=made[0])
        return updates

    @toasts
    def on_code(view: dict[str, Any], request: gr.Request) -> str:
        return data.code(
            *source(view, owner(request)), offset=view["page"] * views.LENGTH, length=views.LENGTH,
            sort=[view["sort"]] if view["sort"] else [], filters=view["filters"], query=view["q"],
            columns=view["columns"] or None,
        )  # fmt: skip

    page.blocks.load(on_load, None, head, **PRIVATE).success(on_draw, view, drawn, **PRIVATE)
    if isinstance(tab, gr.Tab):
        tab.select(on_tab, [view, dataset], head, **PRIVATE).success(on_draw, view, drawn, **PRIVATE)
    dataset.focus(on_names, None, dataset, **PRIVATE)
    other.focus(on_names, None, other, **PRIVATE)
    example.focus(on_examples, view, example, **PRIVATE)
    for began in (
        dataset.input(on_dataset, dataset, head, **BUSY),
        part.input(on_part, [part, view], head, **BUSY),
        upload.upload(on_upload, upload, head, **BUSY),
        bring.click(on_bring, view, head, **BUSY),
        save.click(on_save, [view, done, name], head, **BUSY),
        grid.act(on_act, view, view, **PRIVATE),
        chips.act(on_act, view, view, **PRIVATE),
        found.act(on_act, view, view, **PRIVATE),
        add.click(on_add, [view, column, op, value], view, **PRIVATE),
        where.submit(on_where, [view, where], view, **PRIVATE),
        query.submit(lambda view, q: view | {"q": q.strip(), "page": 0}, [view, query], view, **PRIVATE),
        columns.input(lambda view, names: view | {"columns": names}, [view, columns], view, **PRIVATE),
    ):
        began.success(on_draw, view, drawn, **PRIVATE)
    for one in (grid, found, opened):
        one.act(on_open, view, opened, **PRIVATE)
    address.change(None, address, None, js=ADDRESS, **PRIVATE)
    index.click(on_index, view, index, **BUSY)
    tune.click(_carried, view, [page.dataset, page.tabs], **PRIVATE)
    run.click(on_sql, [view, sql, told], [answer, told, earlier], **BUSY)
    for one in (example, earlier):
        one.input(lambda chosen: chosen, one, sql, **PRIVATE)
    for button, what in ((stop, "sql"), (stop_check, "check")):
        button.click(_stopper(lab, what), None, None, queue=False, **PRIVATE)
    for button in exports:
        pressed = button.click(on_export(button.value), [view, sql], file, **BUSY)
        pressed.success(None, None, None, js=CLICK, **PRIVATE)
    check.click(on_check, [view, checked, other, whole], found, **BUSY)
    kind.input(_slots, kind, slots, **PRIVATE)
    append.click(on_step, [view, done, kind, *slots], [done, steps, preview, recipe], **BUSY)
    steps.act(on_steps, [view, done], [done, steps, preview, recipe], **BUSY)
    panel.expand(on_code, view, code, **PRIVATE)


def _carried(view: dict[str, Any]) -> list[Any]:
    """The dataset goes on to Tune, as a whole."""
    if view["filters"] or view["q"]:
        gr.Info("Tune takes the whole dataset. To keep only these rows: Shape it, step filter, Save as dataset.")
    return [view["dataset"], gr.Tabs(selected="tune")]


def _acted(view: dict[str, Any], pressed: Mapping[str, Any]) -> Any:
    """The view after something was pressed; what is no matter of the view skips."""
    match pressed.get("act"):
        case "sort":
            mine = view["sort"] if view["sort"] and view["sort"]["column"] == pressed["column"] else None
            ways = {None: False, False: True}  # up, down, as in the file
            way = ways.get(mine["descending"] if mine else None)
            return view | {
                "sort": None if way is None else {"column": pressed["column"], "descending": way}, "page": 0
            }  # fmt: skip
        case "filter":
            more = [one for one in as_json(pressed["filters"], "The filter") if one not in view["filters"]]
            return view | {"filters": [*view["filters"], *more], "page": 0}
        case "drop":
            return _dropped(view, str(pressed["what"]))
        case "page":
            return view | {"page": max(0, int(pressed["page"]))}
        case "jump" if str(pressed["row"]).isdigit():
            return view | {"page": int(pressed["row"]) // views.LENGTH}
    return gr.skip()


def _dropped(view: dict[str, Any], what: str) -> dict[str, Any]:
    changes: dict[str, Any] = {"page": 0}
    if what in ("all", "search"):
        changes["q"] = ""
    if what in ("all", "sort"):
        changes["sort"] = None
    if what == "all":
        changes["filters"] = []
    if what.startswith("drop-"):
        changes["filters"] = [one for i, one in enumerate(view["filters"]) if what != f"drop-{i}"]
    return view | changes


def _asked(query: Mapping[str, str]) -> dict[str, Any]:
    """The view an address names, its filters left out."""
    view = views.START | {key: str(query.get(key, ""))[:300] for key in ("dataset", "config", "split", "q")}
    if sort := str(query.get("sort", "")):
        view["sort"] = {"column": sort.removeprefix("-"), "descending": sort.startswith("-")}
    if (page := str(query.get("p", ""))).isdigit():
        view["page"] = max(0, int(page) - 1)
    if names := str(query.get("columns", "")):
        view["columns"] = [str(one) for one in as_json(names, "columns")]
    return view


def _step(kind: str, slots: Sequence[str], filters: Sequence[Any]) -> dict[str, Any]:
    """A step as it is recorded; what is empty keeps its default."""
    first, second, third = (str(one or "").strip() for one in slots)
    names = {
        "chat": ("user", "assistant", "system"),
        "prompt_completion": ("prompt", "completion"),
        "preference": ("prompt", "chosen", "rejected"),
        "label": ("text", "label"),
        "cast": ("column", "to"),
        "sample": ("rows", "seed"),
        "shuffle": ("seed",),
        "concatenate": ("dataset",),
        "split": ("test", "seed"),
    }
    if kind == "rename":
        return {"do": kind, "columns": {first: second}}
    if kind == "drop":
        return {"do": kind, "columns": [first]}
    if kind == "filter":
        return {"do": kind, "filters": list(filters)}
    given = zip(names[kind], (first, second, third), strict=False)
    return {"do": kind} | {key: value for key, value in given if value}


def _slots(kind: str) -> list[Any]:
    """The fields that a step asks for."""
    labels = STEPS[kind]
    return [
        gr.update(label=labels[i], visible=True, value="") if i < len(labels) else gr.update(visible=False, value="")
        for i in range(3)
    ]


def _ticket(request: gr.Request, what: str) -> str:
    """One piece of work of a kind at a time in a page."""
    return f"{what} {request.session_hash}"


def _stopper(lab: Lab, what: str) -> Any:
    def stopped(request: gr.Request) -> None:
        lab.data.stop(_ticket(request, what))

    return stopped


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


def _fresh(button: gr.DownloadButton) -> Path:
    """A new folder whose files Gradio may hand out; its name can't be guessed."""
    folder = Path(button.GRADIO_CACHE) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder
