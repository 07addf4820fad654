"""Choosing a model and an adapter for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from backend.catalog import Entry
from backend.engines.text import ChatParams
from backend.lab import Lab
from ui.page import PRIVATE
from ui.toasts import toasts
from ui.visitor import owner

STARTER = ChatParams.model_fields["model"].default


@dataclass(frozen=True)
class Picker:
    """Two lists beside one another; `key` is in their ids."""

    model: gr.Dropdown
    adapter: gr.Dropdown

    @classmethod
    def draw(cls, lab: Lab, key: str) -> Picker:
        """Where it is called. The lists fill themselves when they are opened or typed into."""
        with gr.Row(elem_classes="pickers"):
            model = gr.Dropdown(
                [STARTER], label="Model", allow_custom_value=True, scale=3, min_width=150, elem_id=f"text-model-{key}"
            )
            adapter = gr.Dropdown(
                [("none", "")], label="Adapter", value="", allow_custom_value=True, scale=2, min_width=110,
                elem_id=f"text-adapter-{key}",
            )  # fmt: skip

        @toasts
        def on_model(name: str, chosen: str, request: gr.Request) -> Any:
            choices = adapters(lab, request, name)
            return gr.update(choices=choices, value=chosen if chosen in dict(choices).values() else "")

        @toasts
        def on_adapters(name: str, request: gr.Request) -> Any:
            return gr.update(choices=adapters(lab, request, name))

        @toasts
        def on_typed(typed: gr.KeyUpData) -> Any:
            return gr.update(choices=models(lab, typed.input_value if len(typed.input_value) > 2 else ""))

        @toasts
        def on_focus() -> Any:
            return gr.update(choices=models(lab))

        @toasts
        def on_fit(name: str, request: gr.Request) -> str:
            return "" if name in ("", STARTER) else room(lab.fit(name, owner(request)))

        fits = gr.HTML(elem_id=f"text-fit-{key}", elem_classes="quiet", padding=False)
        model.input(on_fit, model, fits, **PRIVATE)
        model.key_up(on_typed, None, model, trigger_mode="always_last", **PRIVATE)
        model.focus(on_focus, None, model, **PRIVATE)
        model.input(on_model, [model, adapter], adapter, **PRIVATE)
        adapter.focus(on_adapters, model, adapter, **PRIVATE)
        return cls(model, adapter)


def room(told: Mapping[str, Any]) -> str:
    """What a model takes in memory, in a line; '' for one that takes none here."""
    if not told:
        return ""
    if not told["fits"]:
        return f"<b>It does not fit.</b> {escape(told['advice'])}"
    weights, cache = told["bytes"] + told["packed_bytes"], told["context_bytes"]
    return (
        f"{told['parameters'] / 1e9:.2f} B parameters · {weights / 1e9:.1f} GB, and {cache / 1e9:.1f} GB for "
        f"{told['context']:,} tokens · {told['free'] / 1e9:.1f} GB free: fits"
    )


def models(lab: Lab, query: str = "") -> list[tuple[str, str]]:
    """The starter, what is on disk and in the cache, and with a `query` what the Hub finds."""
    return [_choice(entry) for entry in lab.models(query)]


def adapters(lab: Lab, request: gr.Request, model: str) -> list[tuple[str, str]]:
    """None, and what the visitor's runs made for `model`."""
    return [("none", ""), *map(_choice, lab.adapters(owner(request), model))]


def _choice(entry: Entry) -> tuple[str, str]:
    """What a list shows for it, and what it stands for."""
    return (entry.name if entry.source == "starter" else f"{entry.name} · {entry.note or entry.source}", entry.name)
