"""The frame: header, tabs, sidebar, and how it is served."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.media import MEDIA_ROOT
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.lab import Lab
from ui import api, runs, sessions, sign_in
from ui.lent import bar, lent, name
from ui.page import Page
from ui.tabs import data, evaluate, hub, images, run, text, tune
from ui.visitor import Names, Tokens, owner

TABS = (
    ("text", "Text", text.build),
    ("images", "Images", images.build),
    ("data", "Data", data.build),
    ("tune", "Tune", tune.build),
    ("evaluate", "Evaluate", evaluate.build),
    ("run", "Run", run.build),
    ("hub", "Hub", hub.build),
)
STYLE = Path(__file__).with_name("style.css")
SCRIPTS = ("page.js", "chat.js", "history.js", "presets.js")  # in this order
# What a model writes may name pictures anywhere; only this server's are fetched.
HEAD = f"""
<meta http-equiv="Content-Security-Policy" content="img-src 'self' data: blob:; media-src 'self' data: blob:">
<script>{"".join(STYLE.with_name(name).read_text() for name in SCRIPTS)}</script>"""
LIMITS = {"default_concurrency_limit": 48, "max_size": 256}  # events at work of one kind, and waiting in all
THREADS = 128  # each event at work holds one


def build(lab: Lab) -> gr.Blocks:
    """The whole page. Nothing here waits for a model, the Hub or a run."""
    sessions.light()
    with gr.Blocks(title="Atelier", analytics_enabled=False).queue(**LIMITS) as blocks:  # while it is empty: 0.2 s less
        # Made out here: what is made inside Tabs counts as one of them, and the tabs change places.
        shown, wish, clone, dataset = gr.State(""), gr.State([]), gr.State(""), gr.State("")
        message, measured, model, look = gr.State(""), gr.State(""), gr.State([]), gr.State({})
        drawing = gr.State([])
        with gr.Row(elem_id="header"):
            header = gr.HTML(name(lab.where()), padding=False)
            sign_in.draw(lab, blocks)
            theme = gr.Button("◐ Theme", size="sm", scale=0, min_width=80, elem_id="theme")
            theme.click(None, js="() => atelier.theme()", api_visibility="private")
        refused = bar(lab)
        with gr.Tabs(elem_id="tabs") as tabs:
            page = Page(
                blocks=blocks, tabs=tabs, run=shown, chat_with=wish, draw_with=drawing, model=model, dataset=dataset,
                look=look, clone=clone, message=message, evaluate=measured,
                has=frozenset(key for key, *_ in tabs_of(lab)),
            )  # fmt: skip
            for key, title, make in tabs_of(lab):
                with gr.Tab(title, id=key, elem_id=f"tab-{key}"):
                    make(lab, page)
        runs.sidebar(lab, page)
        lent(lab, page, header, refused)
        api.publish(lab)
        blocks.load(None, js="() => atelier.begin()", api_visibility="private")
        lab.token = tokens = Tokens(lab.token)

        def came(request: gr.Request) -> None:
            tokens.keep(request)
            lab.deposits.came(owner(request))

        blocks.load(came, None, None, api_visibility="private", show_progress="hidden")
        blocks.load(_open, None, [tabs, shown], api_visibility="private", show_progress="hidden")
    return blocks


def tabs_of(lab: Lab) -> list[tuple[str, str, Any]]:
    """The tabs shown here. A run can always be opened."""
    shown = lab.settings.tabs
    return [one for one in TABS if not shown or one[0] in (*shown, "run")]


def _open(request: gr.Request) -> list[Any]:
    """`?run=ID` opens that run, `?tab=tune` that tab."""
    asked = request.query_params
    wanted, known = str(asked.get("tab", "")), {key for key, *_ in TABS}
    if asked.get("run"):
        return [gr.Tabs(selected="run"), str(asked["run"])[:64]]
    return [gr.Tabs(selected=wanted) if wanted in known else gr.skip(), gr.skip()]


def _theme() -> gr.themes.Base:
    plain = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return gr.themes.Default(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=plain, font_mono=mono,
        spacing_size="sm", radius_size="md", text_size="md",
    ).set(  # a contrast of 4.5 and more, which Gradio's own have not
        body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400",
        input_placeholder_color="*neutral_500", input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700", button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800", button_primary_background_fill_hover_dark="*primary_800",
    )  # fmt: skip


def _health(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1" if host == "0.0.0.0" else host, port)) == 0


def launch(lab: Lab) -> gr.Blocks:
    """Serve the page and come back at once."""
    blocks = build(lab)
    names = Middleware(Names, alone=not lab.settings.public)
    blocks.launch(
        max_threads=THREADS,
        server_name=lab.settings.host,
        server_port=lab.settings.port,
        share=lab.settings.share,
        app_kwargs={"routes": [Route("/health", _health), *sign_in.ROUTES], "middleware": [names]},
        theme=_theme(),
        css_paths=[
            STYLE,
            *(
                STYLE.with_name(f"{name}.css")
                for name in ("runs", "data", "tasks", "evaluate", "hub", "images", "chat")
            ),
        ],
        head=HEAD,
        allowed_paths=[MEDIA_ROOT],  # the example pictures and recordings that Gradio brings along
        favicon_path=Path(__file__).with_name("favicon.svg"),
        footer_links=["api"],
        mcp_server=True,
        run_history=False,
        max_file_size="512mb",
        enable_monitoring=False,
        quiet=True,
        prevent_thread_lock=True,
    )
    return blocks


def serve(lab: Lab) -> None:
    """Serve until Ctrl+C or a polite kill. Runs go on by themselves."""
    host, port = lab.settings.host, lab.settings.port
    if _taken(host, port):
        lab.close()
        sys.exit(f"Port {port} is taken by another program. Stop that, or set GRADIO_SERVER_PORT to another number.")
    ended = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: ended.set())
    blocks = launch(lab)
    gc.freeze()  # the page and its libraries: no collection looks through them again
    gc.enable()
    lab.warm()
    print(f"Atelier is at {blocks.local_url.rstrip('/')}", flush=True)
    ended.wait()
    print("Stopped. Runs that are training go on; start Atelier again to see them.", flush=True)
    blocks.close(verbose=False)
    lab.close()
