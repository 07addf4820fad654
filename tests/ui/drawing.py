"""Parts of the page drawn without a server, and their handlers called as the page would."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import gradio as gr
from starlette.requests import Request

from backend.lab import Lab
from ui.page import Page
from ui.visitor import COOKIE


def visitor(letter: str) -> gr.Request:
    cookie = f"{COOKIE}={letter * 43}".encode()
    return gr.Request(Request({"type": "http", "method": "GET", "path": "/", "headers": [(b"cookie", cookie)]}))


T = TypeVar("T")
ME, YOU = visitor("a"), visitor("b")


def drawn(part: Callable[[Lab, Page], None], lab: Lab) -> gr.Blocks:
    """`part` on a page of its own."""

    def make() -> gr.Blocks:
        with gr.Blocks() as blocks, gr.Tabs() as tabs, gr.Tab("here", id="here"):
            part(
                lab,
                Page(
                    blocks,
                    tabs,
                    run=gr.State(""),
                    chat_with=gr.State([]),
                    draw_with=gr.State([]),
                    model=gr.State([]),
                    dataset=gr.State(""),
                    look=gr.State({}),
                    clone=gr.State(""),
                    message=gr.State(""),
                    evaluate=gr.State(""),
                ),
            )
        return blocks

    return in_loop(make)


def in_loop(make: Callable[[], T]) -> T:
    """What `make` gives, called inside an event loop: outside one, Blocks make themselves loops that nobody closes.

    The loop has a thread of its own, for a browser that is open has one in this thread.
    """

    async def called() -> T:
        return make()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(called())).result()


def handler(blocks: gr.Blocks, name: str) -> Callable[..., Any]:
    """The function that answers the page's events under this name."""
    return next(one.fn for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == name)


def outputs(blocks: gr.Blocks, name: str) -> list[str]:
    """The elem_ids of what it fills, in order."""
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == name)
    return [str(part.elem_id or type(part).__name__) for part in one.outputs]
