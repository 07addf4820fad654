"""lm-evaluation-harness as a second engine: its tasks by name, or a YAML file of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ui.evaluate.desk import PRIVATE, Desk
from ui.evaluate.told import foretold
from ui.toasts import toasts
from ui.visitor import owner


def build(desk: Desk, models: gr.Dropdown) -> None:
    """Its form; `models` are those chosen above."""
    lab = desk.lab
    with gr.Accordion("Tasks of lm-evaluation-harness", open=False, elem_id="evaluate-harness") as panel:
        with gr.Row(elem_classes="fields"):
            tasks = gr.Textbox(
                label="Tasks", info="arc_easy, hellaswag …; their data come from the Hub", max_lines=2, scale=3,
                min_width=220, elem_id="evaluate-tasks",
            )  # fmt: skip
            shots = gr.Textbox(label="Few-shot", info="Empty: the task's own", max_lines=1, min_width=100, scale=1)
            limit = gr.Textbox(
                "50", label="Rows of each", info="0 are all", max_lines=1, min_width=100, scale=1,
                elem_id="evaluate-limit",
            )  # fmt: skip
            chat = gr.Checkbox(False, label="Chat template", scale=0, min_width=130)
        yaml = gr.File(
            label="Or a YAML file that describes a task", file_types=[".yaml", ".yml"], height=130,
            elem_id="evaluate-yaml",
        )  # fmt: skip
        time = gr.HTML(elem_id="evaluate-task-time", padding=False)
        start = gr.Button("Run the tasks", size="sm", scale=0, min_width=140, elem_id="evaluate-run-tasks")

    def params(models: list[str], tasks: str, shots: str, limit: str, chat: bool, file: str) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "models": models or [], "tasks": tasks or "", "num_fewshot": shots or "", "limit": limit or 0,
            "apply_chat_template": bool(chat), "task_file": file,
        }  # fmt: skip
        return {key: value for key, value in asked.items() if value not in ("", [])}

    @toasts
    def on_tasks(
        models: list[str], tasks: str, shots: str, limit: str, chat: bool, yaml: str | None, request: gr.Request
    ) -> list[Any]:
        who = owner(request)
        file = lab.upload(who, Path(yaml), Path(yaml).name) if yaml else ""
        asked = params(models, tasks, shots, limit, chat, file)
        return [lab.launch("harness", asked, who, desk.where).id, gr.Timer(active=True)]

    @toasts
    def on_time(
        models: list[str], tasks: str, shots: str, limit: str, chat: bool, yaml: str | None, request: gr.Request
    ) -> str:
        """How long it will take, before it is begun."""
        if not tasks and not yaml:
            return ""
        file = Path(yaml).name if yaml else ""
        return foretold(lab.evaluations.foretell(params(models, tasks, shots, limit, chat, file), owner(request)))

    asks = [models, tasks, shots, limit, chat, yaml]
    start.click(on_tasks, asks, desk.begun, trigger_mode="once", **PRIVATE)
    for changed in (tasks.blur, shots.blur, limit.blur, chat.input, models.change, yaml.change, panel.expand):
        changed(on_time, asks, time, trigger_mode="always_last", **PRIVATE)
