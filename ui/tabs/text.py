"""Talk to a model, and compare two on one prompt.

Both modes are one: there are two sides, each a model with its adapter and a chat of its own; Chat shows the first
alone. A conversation lives in the page (in the Chatbot's value), so nothing of it is kept here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import gradio as gr

from backend.catalog import Entry
from backend.engines.text import ChatParams
from backend.errors import BadInput
from backend.lab import Lab
from ui.answers import ENDS, Answer, note, prompt, question, shown, together, words
from ui.page import Page
from ui.toasts import toasts
from ui.visitor import owner

FIRST = "Give me three tips for a good night's sleep."
DEFAULT = {name: field.default for name, field in ChatParams.model_fields.items()}
SETTINGS = ("system", "max_new_tokens", "temperature", "top_p", "seed")  # in the order of the form below
HIDDEN = (
    "hidden"  # in the page but not seen; in Gradio 6.31 a button yet to be drawn (visible=False) can miss being shown
)
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
Turn = Mapping[str, Any]
Chat = Sequence[Turn]
Views = Generator[list[Any], None, None]


def build(lab: Lab, page: Page) -> None:
    with gr.Row(elem_id="text-top", equal_height=False):
        mode = gr.Radio(
            ["Chat", "Compare"], value="Chat", label="Mode", container=False, min_width=150, elem_id="text-mode"
        )
        clear = gr.Button("Clear", size="sm", scale=0, min_width=56, elem_id="text-clear")
        show_code = gr.Button("Code", size="sm", scale=0, min_width=56, elem_id="text-code-button")
        more = gr.Button("Continue", size="sm", scale=0, min_width=72, elem_id="text-continue", visible=HIDDEN)
    with gr.Row(elem_id="text-sides", equal_height=True):
        with gr.Column(min_width=280):
            model_a, adapter_a, chat_a, meter_a = _side("a")
        with gr.Column(min_width=280, visible=False) as second:
            model_b, adapter_b, chat_b, meter_b = _side("b")
    with gr.Row(elem_id="text-ask", equal_height=True):
        message = gr.Textbox(
            FIRST, label="Message", placeholder="Write a message; Shift+Enter starts a new line", container=False,
            lines=1, max_lines=8, scale=8, min_width=200, elem_id="text-message", autofocus=False,
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=0, min_width=88, elem_id="text-send")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=88, elem_id="text-stop", visible=HIDDEN)
    with gr.Accordion("Settings", open=False, elem_id="text-settings"):
        system = gr.Textbox(label="System prompt", lines=2, max_lines=6, elem_id="text-system")
        with gr.Row():
            tokens = gr.Number(DEFAULT["max_new_tokens"], label="Longest answer, in tokens", precision=0)
            temperature = gr.Slider(0, 2, DEFAULT["temperature"], step=0.05, label="Temperature; 0: the likeliest")
            top_p = gr.Slider(0.05, 1, DEFAULT["top_p"], step=0.05, label="Top-p")
            seed = gr.Number(DEFAULT["seed"], label="Seed; Retry takes the next", precision=0, elem_id="text-seed")
            tokens.elem_id = "text-max-new-tokens"
    with gr.Accordion("Code", visible=HIDDEN, elem_id="text-code") as panel:
        code = gr.Code(language="python", label="chat.py", interactive=False, max_lines=40, elem_id="text-script")

    settings = [system, tokens, temperature, top_p, seed]
    chats, meters = [chat_a, chat_b], [meter_a, meter_b]
    form = [mode, model_a, adapter_a, model_b, adapter_b, *settings]
    outputs = [*chats, *meters, message, send, stop]

    def ask(text: str, turn: int | None, sides: Sequence[Chat], values: Sequence[Any], who: str) -> Views:
        """Put `text` in place of the `turn`-th question (None: after the last) and stream what each side answers."""
        kept = [[*cut(side, turn), said("user", shown(question(text)))] for side in _active(sides, values)]
        requests = [_request(chat, values, side) for side, chat in enumerate(kept)]
        yield from stream(kept, requests, who, empties=turn is None)

    def stream(
        kept: Sequence[Chat], requests: Sequence[Any], who: str, begun: Sequence[str] = (), empties: bool = False
    ) -> Views:
        # Said more than once, as a page that is still being drawn may miss the first.
        other = {"send": gr.update(visible=HIDDEN), "stop": gr.update(visible=True)}
        yield _view(kept, [Answer(text=text) for text in begun or [""] * len(kept)], **other)
        for answers in together([lab.stream("text", request, who) for request in requests], begun):
            answered = any(answer.text or answer.ended for answer in answers)
            if answered and empties:
                other["message"] = ""  # not before: an error leaves what was typed
            yield _view(kept, answers, **other)
            if answered:
                other, empties = {}, False

    @toasts
    def on_send(text: str, a: Chat, b: Chat, request: gr.Request, *values: Any) -> Views:
        yield from ask(text, None, (a, b), values, owner(request))

    @toasts
    def on_retry(event: gr.RetryData, a: Chat, b: Chat, request: gr.Request, *values: Any) -> Views:
        side = _of(event, chats, (a, b))
        turn = _turn(side, event.index)
        following = [*values[:-1], int(values[-1] or 0) + 1]  # the same seed would say the same again
        for view in ask(_questions(side)[turn], turn, (a, b), following, owner(request)):
            yield [*view, following[-1]]

    @toasts
    def on_edit(event: gr.EditData, a: Chat, b: Chat, request: gr.Request, *values: Any) -> Views:
        turn = _turn(_of(event, chats, (a, b)), event.index)
        yield from ask(_text(event.value), turn, (a, b), values, owner(request))

    @toasts
    def on_more(a: Chat, b: Chat, request: gr.Request, *values: Any) -> Views:
        kept, begun = zip(*map(unfinished, _active((a, b), values)), strict=True)
        asked = [[*chat, said("assistant", shown(text))] for chat, text in zip(kept, begun, strict=True)]
        requests = [_request(chat, values, side) for side, chat in enumerate(asked)]
        yield from stream(kept, requests, owner(request), begun)

    def on_undo(event: gr.UndoData, a: Chat, b: Chat, mode: str) -> list[Any]:
        side = _of(event, chats, (a, b))
        turn = _turn(side, event.index)
        text = _questions(side)[turn]
        both = _active((a, b), (mode,))
        return [cut(both[0], turn), cut(both[1], turn) if len(both) > 1 else gr.skip(), text]

    answering = [
        gr.on([send.click, message.submit], on_send, [message, *chats, *form], outputs, **PRIVATE),
        more.click(on_more, [*chats, *form], outputs, **PRIVATE),
        *(chat.retry(on_retry, [*chats, *form], [*outputs, seed], **PRIVATE) for chat in chats),
        *(chat.edit(on_edit, [*chats, *form], outputs, **PRIVATE) for chat in chats),
    ]
    for answer in answering:
        for after in (answer.then, answer.failure):  # in Gradio 6.31 `then` does not follow an error
            after(settle, [message, *chats], [*chats, send, stop, more], **PRIVATE)
    stop.click(None, cancels=answering, **PRIVATE)
    for chat in chats:
        chat.undo(on_undo, [*chats, mode], [*chats, message], **PRIVATE)
    clear.click(
        lambda: [[], [], "", "", gr.update(visible=HIDDEN)], None, [*chats, *meters, more], cancels=answering, **PRIVATE
    )

    @toasts
    def on_code(text: str, a: Chat, b: Chat, request: gr.Request, *values: Any) -> list[Any]:
        scripts = []
        for side, chat in enumerate(_active((a, b), values)):
            asked = len(_questions(chat))
            last = [*cut(chat, asked - 1), said("user", shown(_questions(chat)[-1] if asked else question(text)))]
            scripts.append(lab.code("chat", _request(last, values, side), owner(request)))
        return [gr.update(visible=True, open=True), "\n\n".join(scripts)]

    show_code.click(on_code, [message, *chats, *form], [panel, code], **PRIVATE)

    @toasts
    def on_mode(value: str, model: str, adapter: str, a: Chat, request: gr.Request) -> list[Any]:
        """Comparing begins with the base beside its adapter, and with what was said so far on both sides."""
        if value == "Chat":
            return [gr.update(visible=False)] + [gr.skip()] * 4
        adapters = adapter_choices(request, model)
        tuned = adapter or next((name for _, name in adapters if name), "")
        return [gr.update(visible=True), "", model, gr.update(choices=adapters, value=tuned), list(a)]

    mode.input(on_mode, [mode, model_a, adapter_a, chat_a], [second, adapter_a, model_b, adapter_b, chat_b], **PRIVATE)

    def adapter_choices(request: gr.Request, model: str) -> list[tuple[str, str]]:
        return [("none", ""), *map(_choice, lab.adapters(owner(request), model))]

    @toasts
    def on_model(model: str, adapter: str, request: gr.Request) -> list[Any]:
        choices = adapter_choices(request, model)
        return [gr.update(choices=choices, value=adapter if adapter in dict(choices).values() else ""), ""]

    @toasts
    def on_adapters(model: str, request: gr.Request) -> Any:
        return gr.update(choices=adapter_choices(request, model))

    @toasts
    def on_models(typed: gr.KeyUpData) -> Any:
        return gr.update(choices=model_choices(lab, typed.input_value if len(typed.input_value) > 2 else ""))

    @toasts
    def on_focus() -> Any:
        return gr.update(choices=model_choices(lab))

    for model, adapter, meter in ((model_a, adapter_a, meter_a), (model_b, adapter_b, meter_b)):
        model.key_up(on_models, None, model, trigger_mode="always_last", **PRIVATE)
        model.focus(on_focus, None, model, **PRIVATE)
        model.change(on_model, [model, adapter], [adapter, meter], **PRIVATE)
        adapter.focus(on_adapters, model, adapter, **PRIVATE)

    @toasts
    def on_wish(wish: list[str], request: gr.Request) -> list[Any]:
        if not wish:
            return [gr.skip()] * 3
        model, adapter = wish
        return [model, gr.update(choices=adapter_choices(request, model), value=adapter), []]

    page.message.change(
        lambda words: [words, ""] if words else [gr.skip()] * 2, page.message, [message, page.message], **PRIVATE
    )
    page.chat_with.change(on_wish, page.chat_with, [model_a, adapter_a, page.chat_with], **PRIVATE)


def _side(key: str) -> tuple[gr.Dropdown, gr.Dropdown, gr.Chatbot, gr.HTML]:
    with gr.Row(elem_classes="pickers"):
        model = gr.Dropdown([DEFAULT["model"]], label="Model", allow_custom_value=True, scale=3, min_width=150)
        adapter = gr.Dropdown(
            [("none", "")], label="Adapter", value="", allow_custom_value=True, scale=2, min_width=110
        )
    model.elem_id, adapter.elem_id = f"text-model-{key}", f"text-adapter-{key}"
    chat = gr.Chatbot(
        label="Chat", show_label=False, elem_id=f"text-chat-{key}", height=400, editable="user", feedback_options=None,
        buttons=["copy"], layout="bubble", allow_tags=False, placeholder="The answer appears here, word by word.",
    )  # fmt: skip
    return model, adapter, chat, gr.HTML(elem_id=f"text-meter-{key}", elem_classes="meter", padding=False)


def model_choices(lab: Lab, query: str = "") -> list[tuple[str, str]]:
    """The starter, what is on disk and in the cache, and with a `query` what the Hub finds."""
    return [_choice(entry) for entry in lab.models(query)]


def _choice(entry: Entry) -> tuple[str, str]:
    """What a list shows for it, and what it stands for."""
    return (entry.name if entry.source == "starter" else f"{entry.name} · {entry.note or entry.source}", entry.name)


def said(role: str, text: str, small: str = "", going: bool = False) -> dict[str, Any]:
    """One turn as the Chatbot takes it. With `small` print it is the line of figures under an answer."""
    turn: dict[str, Any] = {"role": role, "content": [{"type": "text", "text": text}]}
    return turn | {"metadata": {"title": small, "status": "pending" if going else "done"}} if small else turn


def cut(chat: Chat, turn: int | None) -> list[Turn]:
    """The chat before its `turn`-th question; all of it for None."""
    if turn is None:
        return list(chat)
    asked = [index for index, one in enumerate(chat) if one["role"] == "user"]
    return list(chat[: asked[turn]]) if turn < len(asked) else list(chat)


def settle(message: str, *chats: Chat) -> list[Any]:
    """After an answer, however it ended: figures that still counted say `stopped`; a question that got no answer and
    is still in the box leaves the chat."""
    settled: list[list[Turn]] = []
    for chat in chats:
        turns = list(chat)
        if turns and (turns[-1].get("metadata") or {}).get("status") == "pending":
            counted = note(turns.pop())
            if turns[-1]["role"] == "assistant":
                turns.append(said("assistant", "", f"{counted} · {ENDS['closed']}"))
        if turns and turns[-1]["role"] == "user" and words(turns[-1]) == message.strip():
            turns.pop()
        settled.append(turns)
    cut_short = any(note(chat[-1]).endswith((ENDS["length"], ENDS["closed"])) for chat in settled if chat)
    return [*settled, gr.update(visible=True), gr.update(visible=HIDDEN), gr.update(visible=cut_short or HIDDEN)]


def unfinished(chat: Chat) -> tuple[list[Turn], str]:
    """The chat up to its last question, and the answer to go on from. Raises BadInput when there is none."""
    turns = list(chat)
    while turns and note(turns[-1]):
        turns.pop()
    if not turns or turns[-1]["role"] != "assistant":
        raise BadInput("There is no answer to continue.", "Send a message first.")
    return turns[:-1], words(turns[-1])


def _view(kept: Sequence[Chat], answers: Sequence[Answer], **other: Any) -> list[Any]:
    """Values for chats, meters, message, send and stop; what is not given stays."""
    chats = [_with(chat, answer) for chat, answer in zip(kept, answers, strict=True)]
    meters = [_meter(answer) for answer in answers]
    if len(chats) == 1:
        chats, meters = [*chats, gr.skip()], [*meters, gr.skip()]
    return [*chats, *meters, *(other.get(name, gr.skip()) for name in ("message", "send", "stop"))]


def _with(chat: Chat, answer: Answer) -> list[Turn]:
    if not answer.text:
        doing = "The model ended without a word" if answer.ended else answer.doing
        return [*chat, said("assistant", "", doing, going=not answer.ended)]
    text = said("assistant", shown(answer.text))
    return [*chat, text, said("assistant", "", answer.figures or "…", going=not answer.ended)]


def _meter(answer: Answer) -> str:
    if not answer.context:
        return ""
    used = answer.prompt_tokens + answer.tokens
    return (
        f"<meter min=0 max={answer.context} high={int(answer.context * 0.8)} value={used} aria-hidden=true></meter> "
        f"{used:,} of {answer.context:,} tokens"
    )


def _request(chat: Chat, values: Sequence[Any], side: int) -> dict[str, Any]:
    """What the engine is asked: `values` are those of the form, in its order."""
    _, *pickers = values[:5]
    settings = {name: value for name, value in zip(SETTINGS, values[5:], strict=True) if value is not None}
    return {
        "messages": prompt(chat),
        "model": pickers[side * 2] or "",
        "adapter": pickers[side * 2 + 1] or "",
    } | settings


def _active(sides: Sequence[Chat], values: Sequence[Any]) -> Sequence[Chat]:
    return [side or [] for side in sides] if values[0] == "Compare" else [sides[0] or []]


def _of(event: gr.EventData, chats: Sequence[gr.Chatbot], sides: Sequence[Chat]) -> Chat:
    """The side that an event happened on."""
    return next(side for chat, side in zip(chats, sides, strict=True) if event.target is chat)


def _turn(chat: Chat, index: Any) -> int:
    """Which question the message at `index` is, or belongs to."""
    index = index if isinstance(index, int) else index[0]
    return max(0, sum(turn["role"] == "user" for turn in chat[: index + 1]) - 1)


def _questions(chat: Chat) -> list[str]:
    return [words(turn) for turn in chat if turn["role"] == "user"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else words({"content": value if isinstance(value, list) else [value]})
