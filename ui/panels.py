"""Panels that show something of what is on screen, such as its code: they follow it while they are open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import gradio as gr

from ui.page import HIDDEN, PRIVATE
from ui.toasts import silently, toasts


def build(
    button: gr.Button,
    label: str,
    elem_id: str,
    language: Literal["python"] | None,
    tell: Callable[..., str],
    inputs: Sequence[Any],
    changes: Sequence[Any],
    below: Callable[[gr.Code], None] = lambda text: None,
) -> None:
    """`button` opens the panel with what `tell` says of `inputs`; at each of `changes` it is told anew.

    Where it can't be told any more, the panel closes: it never shows what is no longer so. `below` draws under it.
    """
    opened = gr.State(False)
    with gr.Accordion(label, visible=HIDDEN, elem_id=elem_id) as panel:
        text = gr.Code(language=language, show_label=False, interactive=False, max_lines=40, elem_id=f"{elem_id}-text")
        below(text)

    @toasts
    def on_open(request: gr.Request, *values: Any) -> list[Any]:
        return [True, gr.update(visible=True, open=True), tell(*values[:3], request, *values[3:])]

    def on_change(open_: bool, request: gr.Request, *values: Any) -> list[Any]:
        if not open_:
            return [gr.skip()] * 3
        return [gr.skip(), gr.skip(), tell(*values[:3], request, *values[3:])]

    closed = [False, gr.update(visible=HIDDEN), ""]
    button.click(on_open, list(inputs), [opened, panel, text], **PRIVATE)
    panel.collapse(lambda: closed, None, [opened, panel, text], **PRIVATE)
    gr.on(
        list(changes), silently(on_change, lambda: closed), [opened, *inputs], [opened, panel, text],
        trigger_mode="always_last", **PRIVATE,
    )  # fmt: skip


def changes(components: Iterable[Any]) -> list[Any]:
    """The events of `components` after which their values count: not each letter that is typed."""
    return [one.blur if isinstance(one, gr.Textbox) else one.change for one in components]
