"""ZeroGPU on the page: it asks for the next slice of its owner's runs, and shows what is left of their time."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui.toasts import silently, toasts
from ui.visitor import owner

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def name(where: str) -> str:
    """The header's first words, as HTML."""
    return f"<h1>Atelier</h1> <span id=where>{html.escape(where)}</span>"


def lent(lab: Lab, blocks: gr.Blocks, header: gr.HTML) -> None:
    """Nothing, elsewhere than on ZeroGPU.

    Each slice needs a fresh request of the visitor, through the queue: only there does the browser say who it is.
    """
    if not lab.lending.on:
        return

    @toasts
    def turn(request: gr.Request) -> None:
        lab.lending.turn(owner(request))

    @silently
    def left(request: gr.Request) -> str:
        return name(lab.lending.left(owner(request)))

    gr.Timer(2).tick(turn, None, None, concurrency_limit=None, trigger_mode="once", **PRIVATE)
    gr.Timer(10).tick(left, None, header, queue=False, **PRIVATE)
    blocks.load(left, None, header, queue=False, **PRIVATE)
