"""Chat and Compare: one conversation, told to one model or to two at once.

The conversation (ui/conversation.py) lives in the page: it comes with every question and goes back with the answer, so
nothing of it is kept here. chat.js draws it, history.js keeps it in the visitor's browser.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

import gradio as gr

from backend.engines.text import ChatParams
from backend.errors import BadInput
from backend.lab import Lab
from ui import asking, notebooks, panels, votes
from ui import conversation as talk
from ui.answers import Answer, meter, question, together
from ui.asking import Asked, Values
from ui.conversation import Conversation, Side
from ui.markdown import Growing, blocks
from ui.page import HIDDEN, PRIVATE, Page, shows
from ui.pickers import STARTER, Picker, adapters
from ui.settings import Writing
from ui.toasts import silently, toasts
from ui.visitor import owner

FIRST = "Give me three tips for a good night's sleep."
MANY = {"concurrency_limit": 64}  # answers that are written at once
KEPT = '<span id="text-kept"></span>'  # where history.js says that it can keep no more
_TURNS = '<div class="turns" role="log" aria-label="{}" data-empty="{}"></div>'
_NOTHING = "The answer appears here, word by word."
_HISTORY = """<div class="history" hidden>
<div class="row"><input type="search" placeholder="Search conversations" aria-label="Search conversations">
<button type="button" class="export">Export all</button><button type="button" class="import">Import</button>
<input type="file" accept=".jsonl,.json" hidden></div><div class="told" role="status"></div><ul></ul></div>"""

Views = Generator[dict[Any, Any], None, None]


def drawn(texts: list[str]) -> list[list[str]]:
    """Asked by the page: the HTML of answers that it has not seen being made."""
    return [blocks(str(text)) for text in texts]


def written(conversations: list[Any]) -> str:
    """Asked by the page: conversations as a file."""
    return talk.written([talk.checked(one) for one in conversations])


def build(lab: Lab, page: Page, mode: gr.Radio, top: gr.Row) -> None:
    """Where it is called; the tools go into the row at the `top`."""
    stops: dict[str, threading.Event] = {}  # of the answers being written, by the page that asked
    doc = gr.HTML(
        talk.fresh(), html_template="", visible=HIDDEN, server_functions=[drawn],
        js_on_load="atelier.chat.hold(props, trigger, server, watch);",
    )  # fmt: skip
    live = gr.HTML({"sides": []}, html_template="", js_on_load="atelier.chat.grow(props, watch);", visible=HIDDEN)
    with top, gr.Row(elem_id="text-tools"):
        new = gr.Button("New", size="sm", scale=0, min_width=56, elem_id="text-new")
        show_history = gr.Button("History", size="sm", scale=0, min_width=72, elem_id="text-history-button")
        show_prompt = gr.Button("Prompt", size="sm", scale=0, min_width=72, elem_id="text-prompt-button")
        show_code = gr.Button("Code", size="sm", scale=0, min_width=56, elem_id="text-code-button")
        show_history.click(None, js="() => atelier.history.toggle()", **PRIVATE)
    history = gr.HTML(
        {}, html_template=_HISTORY, elem_id="text-history", padding=False, apply_default_css=False,
        server_functions=[written],
        js_on_load="atelier.history.hold(element, props, trigger, server, watch);",
    )  # fmt: skip
    with gr.Row(elem_id="text-sides", equal_height=True):
        with gr.Column(min_width=280):
            first, meter_a = _side(lab, 0)
        with gr.Column(min_width=280, visible=False) as second:
            other, meter_b = _side(lab, 1)
    ballot = votes.build(lab, page)
    trim = gr.Button("Drop the oldest turns", size="sm", elem_id="text-trim", visible=HIDDEN)
    with gr.Row(elem_id="text-ask", equal_height=True):
        message = gr.Textbox(
            FIRST, label="Message", placeholder="Write a message; Shift+Enter starts a new line", container=False,
            lines=1, max_lines=8, scale=8, min_width=200, elem_id="text-message", autofocus=False,
        )  # fmt: skip
        send = gr.Button("Send", variant="primary", scale=0, min_width=88, elem_id="text-send")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=88, elem_id="text-stop", visible=HIDDEN)
    count = gr.HTML(KEPT, elem_id="text-count", elem_classes="meter", padding=False)
    with gr.Accordion("Settings", open=False, elem_id="text-settings"):
        form_a = Writing(ChatParams, "text")
        seen = gr.Checkbox(
            label="Show how likely each token was", info="Colours the words of new answers; press one to see others",
            elem_id="text-chances",
        )  # fmt: skip
        own = gr.Checkbox(label="The second model has settings of its own", visible=HIDDEN, elem_id="text-own")
        with gr.Group(visible=False, elem_id="text-settings-b") as group:
            form_b = Writing(ChatParams, "text-b")
    forms = (form_a, form_b)
    form = [
        first.model, first.adapter, other.model, other.adapter, own, seen, *form_a.components, *form_b.components,
    ]  # fmt: skip
    meters = (meter_a, meter_b)
    outputs = [doc, live, message, send, stop, trim, *meters, *ballot.outputs, form_a["seed"], count]

    # -- answers ------------------------------------------------------------------------------------------------

    def answer(before: Conversation, asked: Sequence[Asked], values: Values, request: gr.Request, **at: Any) -> Views:
        """Stream what each side answers; `at` is shown as soon as one has begun. What fails leaves all as it was."""
        page_id = str(request.session_hash)
        if page_id in stops:
            raise BadInput("An answer is being written.", "Wait for its end, or press Stop.")
        stop_it = stops[page_id] = threading.Event()
        grown = [Growing() for _ in asked]
        answers = [Answer(text=one.begun) for one in asked]
        drawn_so_far = [growing.add(one.begun) for growing, one in zip(grown, asked, strict=True)]
        now = asking.settled(before, [one.side for one in asked], values)
        # Said more than once, as a page that is still being drawn may miss the first.
        buttons = {
            send: gr.update(visible=HIDDEN),
            stop: gr.update(visible=True),
            trim: gr.update(visible=HIDDEN),
            count: KEPT,
        }
        try:
            yield {doc: now, live: asking.live(asked, answers, drawn_so_far), **buttons, **ballot.hidden}
            streams = [
                lab.stream("text", values.request(side, one.messages), owner(request)) for side, one in enumerate(asked)
            ]
            lengths = [len(one.begun) for one in asked]
            for answers in together(streams, [one.begun for one in asked], stop_it):
                for side, one in enumerate(answers):
                    if len(one.text) > lengths[side]:
                        drawn_so_far[side] = grown[side].add(one.text[lengths[side] :])
                        lengths[side] = len(one.text)
                begun = any(asking.told(one, answer) for one, answer in zip(asked, answers, strict=True))
                yield {
                    live: asking.live(asked, answers, drawn_so_far),
                    **{place: meter(one) for place, one in zip(meters, answers, strict=False)},
                    **(dict(zip((message, form_a["seed"]), at.values(), strict=False)) if begun and at else {}),
                    **buttons,
                }
                if begun:
                    buttons, at = {}, {}
        finally:
            del stops[page_id]
        idle = {send: gr.update(visible=True), stop: gr.update(visible=HIDDEN)}
        over = asking.live(asked, answers, drawn_so_far, over=True)
        errors = [one.error for one in answers if one.error]
        room = {}
        if any(one.ended == "context" or (one.error and one.error.code == "context.overflow") for one in answers):
            room = {trim: offer([one.side for one in asked], values, request)}
        if errors and not any(asking.told(one, answer) for one, answer in zip(asked, answers, strict=True)):
            yield {doc: before, live: over, **idle, **room}
            raise errors[0]
        ended = [
            talk.changed(one.side, one.turn, text=answer.text, note=asking.note(answer), ended=answer.ended)
            for one, answer in zip(asked, answers, strict=True)
        ]
        both = ballot.shown if not errors and votes.can_vote(ended) else {}
        yield {doc: asking.settled(before, ended, values), live: over, **idle, **room, **both}

    @toasts
    def on_send(conversation: Conversation, mode: str, text: str, request: gr.Request, *rest: Any) -> Views:
        values = Values(forms, rest)
        told = [talk.said(side, "user", question(text)) for side in talk.sides(conversation, mode)]
        asked = [asking.coming(side) for side in told]
        yield from answer(conversation | {"mode": mode}, asked, values, request, message="")

    @toasts
    def on_retry(event: gr.EventData, conversation: Conversation, mode: str, request: gr.Request, *rest: Any) -> Views:
        """Answer again where this answer stands, with the next seed: the same would say the same again."""
        values, asked = Values(forms, rest), []
        for settings in values.sides:
            settings["seed"] = asking.following(settings.get("seed") or "0")
        for side in asking.concerned(conversation, mode, event):
            way = talk.path(side)[: asking.place_of(conversation, event) + 1]
            while way and way[-1]["role"] == "assistant":
                way.pop()
            if not way:
                raise BadInput("There is no question to answer here.", "Send a message first.")
            asked.append(asking.coming(side, way[-1]["id"]))
        after = {"message": gr.skip(), "seed": values.sides[0]["seed"]}
        yield from answer(conversation | {"mode": mode}, asked, values, request, **after)

    @toasts
    def on_edit(event: gr.EventData, conversation: Conversation, mode: str, request: gr.Request, *rest: Any) -> Views:
        """An edited question is asked anew; an edited answer stands as it is. The old versions are kept."""
        text, place = question(str(event.text)), asking.place_of(conversation, event)
        old = talk.path(conversation["sides"][int(event.side)])[place]
        if old["role"] == "assistant":
            side = talk.said(conversation["sides"][int(event.side)], "assistant", text, old["parent"], note="edited")
            yield {doc: asking.replaced(conversation, int(event.side), side)}
            return
        values = Values(forms, rest)
        sides = asking.concerned(conversation, mode, event)
        told = [talk.said(side, "user", text, talk.path(side)[place]["parent"]) for side in sides]
        yield from answer(conversation | {"mode": mode}, [asking.coming(side) for side in told], values, request)

    @toasts
    def on_more(conversation: Conversation, mode: str, request: gr.Request, *rest: Any) -> Views:
        sides = talk.sides(conversation, mode)
        asked = [Asked(side, (last := talk.unfinished(side))["id"], last["text"]) for side in sides]
        yield from answer(conversation | {"mode": mode}, asked, Values(forms, rest), request)

    def on_stop(request: gr.Request) -> None:
        if going := stops.get(str(request.session_hash)):
            going.set()

    def on_switch(event: gr.EventData, conversation: Conversation, mode: str) -> Conversation:
        """Another version of a turn. Of a question, on both sides: they were asked together."""
        chosen, place = int(event.side), asking.place_of(conversation, event)
        role = talk.path(conversation["sides"][chosen])[place]["role"]
        for number, side in enumerate(talk.sides(conversation, mode)):
            way = talk.path(side)
            if len(way) > place and (number == chosen or role == "user"):
                changed = talk.switched(side, way[place]["id"], int(event.step))
                conversation = asking.replaced(conversation, number, changed)
        return conversation

    # -- room in the context ------------------------------------------------------------------------------------

    def offer(sides: Sequence[Side], values: Values, request: gr.Request) -> Any:
        """The button that leaves out so many of the oldest turns that an answer has room; hidden when none would do."""
        counts = [asking.too_many(lab, side, values, number, owner(request)) for number, side in enumerate(sides)]
        if None in counts or not any(counts):
            return gr.update(visible=HIDDEN)
        many = max(one or 0 for one in counts)
        return gr.update(
            value=f"Drop the oldest {many} turn{'s' * (many != 1)}: they stay here, but the model no longer reads them",
            visible=True,
        )

    @toasts
    def on_trim(conversation: Conversation, mode: str, text: str, request: gr.Request, *rest: Any) -> list[Any]:
        values = Values(forms, rest)
        for number, side in enumerate(talk.sides(conversation, mode)):
            waiting = talk.said(side, "user", text.strip()) if text.strip() else side
            many = asking.too_many(lab, waiting, values, number, owner(request))
            if many:
                conversation = asking.replaced(conversation, number, talk.shorter(side, many))
        return [conversation, gr.update(visible=HIDDEN)]

    # -- what happens -------------------------------------------------------------------------------------------

    everything = [doc, mode, message, *form]
    acting = [doc, mode, *form]
    answering = [
        gr.on([send.click, message.submit], on_send, everything, outputs, **PRIVATE, **MANY),
        doc.retry(on_retry, acting, outputs, **PRIVATE, **MANY),
        doc.edit(on_edit, acting, outputs, **PRIVATE, **MANY),
        doc.submit(on_more, acting, outputs, **PRIVATE, **MANY),
    ]
    for one in answering:  # an error that nobody foresaw must not leave the page waiting
        one.failure(lambda: [gr.update(visible=True), gr.update(visible=HIDDEN)], None, [send, stop], **PRIVATE)
    stop.click(on_stop, None, None, queue=False, **PRIVATE)
    doc.select(toasts(on_switch), [doc, mode], doc, **PRIVATE)
    trim.click(on_trim, everything, [doc, trim], **PRIVATE)
    seen.change(None, seen, None, js="shown => atelier.chat.show(shown)", **PRIVATE)
    own.change(lambda own: gr.update(visible=own), own, group, **PRIVATE)
    new.click(
        lambda mode: [talk.fresh(mode), {"sides": []}, "", "", "", gr.update(visible=HIDDEN)],
        mode, [doc, live, message, *meters, trim], js="mode => { atelier.history.begin(); return mode; }", **PRIVATE,
    )  # fmt: skip

    @toasts
    def on_mode(
        value: str, conversation: Conversation, model: str, adapter: str, request: gr.Request
    ) -> dict[Any, Any]:
        """Comparing begins with the base beside its adapter, and with what was said so far on both sides."""
        if value != "Compare":
            return {second: gr.update(visible=False), own: gr.update(visible=HIDDEN), group: gr.update(visible=False)}
        shown = {second: gr.update(visible=True), own: gr.update(visible=True)}
        if len(conversation["sides"]) > 1:
            return shown
        choices = adapters(lab, request, model)
        tuned = adapter or next((name for _, name in choices if name), "")
        both = conversation | {"mode": value, "sides": [conversation["sides"][0]] * 2}
        return {
            **shown, doc: both, first.adapter: "", other.model: model,
            other.adapter: gr.update(choices=choices, value=tuned),
        }  # fmt: skip

    mode.input(
        on_mode, [mode, doc, first.model, first.adapter],
        [second, own, group, doc, first.adapter, other.model, other.adapter], **PRIVATE,
    )  # fmt: skip

    @toasts
    def on_open(conversation: Conversation) -> list[Any]:
        """A conversation of the past comes with its settings."""
        sound = talk.checked(conversation)
        compare = sound["mode"] == "Compare"
        settings = [side["settings"] for side in talk.sides(sound, "Compare")]
        pickers = [part for one in settings for part in (one.get("model") or STARTER, one.get("adapter", ""))]
        apart = compare and asking.sampling(settings[0]) != asking.sampling(settings[1])
        return [
            sound, {"sides": []}, sound["mode"], *pickers, gr.update(value=apart, visible=shows(compare)),
            gr.update(visible=apart), gr.update(visible=compare), *form_a.fill(settings[0]), *form_b.fill(settings[1]),
            "", "", gr.update(visible=HIDDEN),
        ]  # fmt: skip

    doc.apply(
        on_open, doc,
        [doc, live, mode, first.model, first.adapter, other.model, other.adapter, own, group, second,
         *form_a.components, *form_b.components, *meters, trim], **PRIVATE,
    )  # fmt: skip

    @toasts
    def on_import(file: dict[str, str]) -> dict[str, Any]:
        return {"read": talk.read(str(file.get("text", "")))}

    history.submit(on_import, history, history, **PRIVATE)

    def on_count(conversation: Conversation, mode: str, text: str, request: gr.Request, *rest: Any) -> str:
        """How much of the context the typed message takes, before it is sent."""
        if not text.strip():
            return KEPT
        values, side = Values(forms, rest), talk.sides(conversation, mode)[0]
        told, who = talk.prompt(side), owner(request)
        whole = lab.inspect(values.inspection(0, [*told, {"role": "user", "content": question(text)}]), who)
        before = lab.inspect(values.inspection(0, told), who)["tokens"] if told else 0
        return (
            f"{whole['tokens'] - before:,} tokens to send; with all before them {whole['tokens']:,} of "
            f"{whole['context']:,} {KEPT}"
        )

    doc.input(silently(on_count), everything, count, trigger_mode="always_last", **PRIVATE)

    # -- seeing it all ------------------------------------------------------------------------------------------

    def waiting(conversation: Conversation, mode: str, text: str) -> list[list[dict[str, str]]]:
        """What each side is asked next; of an answered conversation, what it was asked last."""
        told = []
        for side in talk.sides(conversation, mode):
            messages = talk.prompt(side)
            while messages and messages[-1]["role"] == "assistant":
                messages.pop()
            told.append(messages or [{"role": "user", "content": question(text)}])
        return told

    def code(conversation: Conversation, mode: str, text: str, request: gr.Request, *rest: Any) -> str:
        values = Values(forms, rest)
        scripts = [
            lab.code("chat", values.request(number, told) | {"alternatives": 0}, owner(request))
            for number, told in enumerate(waiting(conversation, mode, text))
        ]
        return "\n\n".join(scripts)

    def templated(conversation: Conversation, mode: str, text: str, request: gr.Request, *rest: Any) -> str:
        values = Values(forms, rest)
        told = [
            lab.inspect(values.inspection(number, one), owner(request))
            for number, one in enumerate(waiting(conversation, mode, text))
        ]
        return "\n\n".join(f"— {one['tokens']:,} of {one['context']:,} tokens —\n{one['prompt']}" for one in told)

    changes = [doc.change, message.blur, mode.change, *panels.changes(form)]
    panels.build(show_prompt, "Prompt, as the model reads it", "text-prompt", None, templated, everything, changes)
    panels.build(
        show_code, "Code", "text-code", "python", code, everything, changes,
        lambda text: notebooks.beside(lab, text, "A chat", "chat"),
    )  # fmt: skip
    votes.listen(lab, ballot, doc)

    @toasts
    def on_wish(wish: list[str], request: gr.Request) -> list[Any]:
        if not wish:
            return [gr.skip()] * 3
        model, adapter = wish
        return [model, gr.update(choices=adapters(lab, request, model), value=adapter), []]

    page.message.change(
        lambda wish: [wish, ""] if wish else [gr.skip()] * 2, page.message, [message, page.message], **PRIVATE
    )
    page.chat_with.change(on_wish, page.chat_with, [first.model, first.adapter, page.chat_with], **PRIVATE)


def _side(lab: Lab, number: int) -> tuple[Picker, gr.HTML]:
    key = "ab"[number]
    picker = Picker.draw(lab, key)
    label = ("Conversation", "Conversation with the second model")[number]
    gr.HTML(
        "", html_template=_TURNS.format(label, _NOTHING), js_on_load=f"atelier.chat.view(element, {number});",
        apply_default_css=False,
        elem_id=f"text-chat-{key}", padding=False,
    )  # fmt: skip
    return picker, gr.HTML(elem_id=f"text-meter-{key}", elem_classes="meter", padding=False)
