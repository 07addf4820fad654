"""The Tasks pane of the Text tab: choose a task, its example is there already, press Try it."""

from __future__ import annotations

from collections.abc import Generator
from html import escape
from typing import Any

import gradio as gr
from gradio.media import MEDIA_ROOT

from backend import events as ev
from backend.engines.tasks import TASKS, Task, whole
from backend.errors import BadInput
from backend.lab import Lab
from ui import notebooks, task_views
from ui.page import HIDDEN, PRIVATE, Page
from ui.toasts import toasts
from ui.visitor import owner

FIRST = next(iter(TASKS))
LINES = ("text", "texts", "context")  # fields with room for several lines
EMPTY = "<p class=quiet>The result appears here.</p>"
Views = Generator[list[Any], None, None]


def build(lab: Lab, page: Page) -> None:
    with gr.Row(equal_height=False):
        with gr.Column(min_width=300):
            task = gr.Dropdown(
                [(one.title, name) for name, one in TASKS.items()], value=FIRST, label="Task", elem_id="task-name"
            )
            model = gr.Dropdown(
                [whole(FIRST, {})["model"]],
                label="Model",
                allow_custom_value=True,
                elem_id="task-model",
                elem_classes="pickers",
            )
            slots = [gr.Textbox(elem_id=f"task-field-{n}", **_slot(TASKS[FIRST], n)) for n in range(3)]
            picture = gr.Image(
                label="Picture", type="filepath", sources=["upload", "clipboard"], visible=HIDDEN, height=220,
                elem_id="task-image",
            )  # fmt: skip
            sound = gr.Audio(label="Recording", type="filepath", visible=HIDDEN, elem_id="task-audio")
            with gr.Row():
                go = gr.Button("Try it", variant="primary", elem_id="task-go")
                stop = gr.Button("Stop", variant="stop", visible=HIDDEN, elem_id="task-stop")
                show_code = gr.Button("Code", size="sm", scale=0, min_width=56, elem_id="task-code-button")
        with gr.Column(min_width=300):
            result = gr.HTML(EMPTY, elem_id="task-result", padding=False)
            with gr.Accordion("Values", open=False, visible=HIDDEN, elem_id="task-values") as plain:
                values = gr.JSON(show_label=False, max_height=300)
    with gr.Accordion("Code", visible=HIDDEN, elem_id="task-code") as panel:
        code = gr.Code(language="python", label="task.py", interactive=False, max_lines=40, elem_id="task-script")
        notebooks.beside(lab, code, "A task", "task")

    form = [task, model, *slots, picture, sound]
    outputs = [result, plain, values, go, stop]

    @toasts
    def on_task(name: str) -> list[Any]:
        """The task's own fields, models and example; an old result would be of another task."""
        chosen = TASKS[name]
        file = chosen.example.get("file")
        seen, heard = (
            gr.update(visible=True, value=_example(file, medium))
            if chosen.medium == medium and file
            else gr.update(visible=HIDDEN, value=None)
            for medium in ("image", "audio")
        )
        return [
            gr.update(choices=model_choices(lab, name), value=whole(name, {})["model"]),
            *(gr.update(**_slot(chosen, n)) for n in range(3)),
            seen,
            heard,
            EMPTY,
            gr.update(visible=HIDDEN),
        ]

    task.change(on_task, task, [model, *slots, picture, sound, result, plain], **PRIVATE)

    @toasts
    def on_go(name: str, request: gr.Request, *given: Any) -> Views:
        asked = _request(name, given)
        text = str(asked.get("text") or asked.get("context") or "")
        still = [gr.skip()] * 2
        buttons = [gr.update(visible=HIDDEN), gr.update(visible=True)]
        yield ["<p class=quiet>Waiting for the engine</p>", gr.update(visible=HIDDEN), gr.skip(), *buttons]
        said = ""
        for event in lab.stream(name, asked, owner(request)):
            match event:
                case ev.Logged():
                    shown = f"<p class=quiet>{escape(event.text)}</p>"
                case ev.Wrote():
                    said += event.text
                    shown = task_views.writing(said)
                case ev.Finished():
                    shown = task_views.result(event.values, text)
                    yield [shown, gr.update(visible=True), event.values, *still]
                    continue
                case _:
                    continue
            yield [shown, *still, *buttons]

    def settle(shown: str) -> list[Any]:
        """After a result, an error or a stop."""
        waits = shown.startswith("<p class=quiet>")
        stay = [gr.skip()] * 2
        return [EMPTY if waits else gr.skip(), *stay, gr.update(visible=True), gr.update(visible=HIDDEN)]

    going = gr.on([go.click, slots[1].submit, slots[2].submit], on_go, form, outputs, **PRIVATE)
    for after in (going.then, going.failure):
        after(settle, result, outputs, **PRIVATE)
    stop.click(settle, result, outputs, cancels=going, **PRIVATE)

    @toasts
    def on_code(name: str, request: gr.Request, *given: Any) -> list[Any]:
        return [gr.update(visible=True, open=True), lab.code(name, _request(name, given), owner(request))]

    show_code.click(on_code, form, [panel, code], **PRIVATE)

    @toasts
    def on_models(name: str, typed: gr.KeyUpData) -> Any:
        return gr.update(choices=model_choices(lab, name, typed.input_value if len(typed.input_value) > 2 else ""))

    @toasts
    def on_focus(name: str) -> Any:
        return gr.update(choices=model_choices(lab, name))

    model.key_up(on_models, task, model, trigger_mode="always_last", **PRIVATE)
    model.focus(on_focus, task, model, **PRIVATE)


def model_choices(lab: Lab, task: str, query: str = "") -> list[tuple[str, str]]:
    """The house's models that can do the task, those on disk, and with a `query` what the Hub finds."""
    return [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in lab.models(query, task)]


def _slot(task: Task, number: int) -> dict[str, Any]:
    """How the `number`-th text field looks for a task: its label, its example, or nothing."""
    names = [name for name in task.takes if name != "file"]
    if number >= len(names):
        return {"visible": HIDDEN, "value": "", "label": " ", "info": ""}
    name = names[number]
    field = task.params.model_fields[name]
    default = "" if field.is_required() else field.default
    return {
        "visible": True,
        "label": field.title,
        "info": field.description or "",
        "value": task.example.get(name, default),
        "lines": 3 if name in LINES else 1,
        "max_lines": 14 if name in LINES else 1,
    }


def _request(name: str, given: tuple[Any, ...]) -> dict[str, Any]:
    """What the engine is asked: `given` are the values of model, text fields, picture and sound."""
    task = TASKS[name]
    model, *texts, picture, sound = given
    fields = [field for field in task.takes if field != "file"]
    asked = {"model": model or ""} | dict(zip(fields, texts, strict=False))
    if "file" in task.takes:
        asked["file"] = (picture if task.medium == "image" else sound) or ""
        if not asked["file"]:
            raise BadInput(f"There is no {'picture' if task.medium == 'image' else 'recording'}.", "Upload one first.")
    return asked


def _example(name: str, medium: str) -> str:
    """A file that Gradio brings along."""
    return str(MEDIA_ROOT / {"image": "images", "audio": "audio"}[medium] / name)
