"""The Images tab's HTML: what is drawn, a picture with its settings, the strip of all. Pure, knows no Gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from ui.images.drawing import Drawing
from ui.views import duration, when

EMPTY = (
    '<figure class="stage"><div class="frame nothing"><p>Your picture appears here.<br>'
    "Press Draw: the words above are ready.</p></div></figure>"
)
SMALL = 256  # pixels; pictures up to here are shown larger than they are
ACTS = (  # event, what the button says, its hint, more of its attributes
    ("reuse", "Reuse settings", "Put this picture's settings into the form", ' data-done="In the form now"'),
    ("vary", "Vary", "Draw it again, a little different", ""),
    ("begin", "Begin from it", "Take it as the picture that drawing begins from", ""),
    ("enlarge", "Enlarge 2×", "Twice as large, with details drawn anew", ' data-times="2"'),
    ("enlarge", "4×", "Four times as large, with details drawn anew", ' data-times="4"'),
    ("compare", "Compare", "Put it beside another picture under a slider", ""),
    ("remove", "Delete", "It is gone for good", ' data-sure="Delete it?"'),
)
LINKED = ("prompt", "negative_prompt", "model", "steps", "guidance", "width", "height", "seed", "scheduler")
_WORDS = {  # of a picture's settings, in this order: how each is said
    "seed": "seed {}",
    "steps": "{} steps",
    "guidance": "guidance {}",
    "scheduler": "{}",
    "model": "{}",
    "strength": "from a picture, strength {}",
    "control_model": "guided by {}",
    "enlarge": "enlarged {}×",
}


def stage(drawing: Drawing) -> str:
    """What is being drawn, and how far it is."""
    if drawing.preview:
        inside = f'<img src="data:image/png;base64,{drawing.preview}" alt="Preview" data-step="{drawing.done:.0f}">'
    else:
        inside = "<p>" + ("Stopped before a step was done." if drawing.ended else escape(drawing.doing)) + "</p>"
    kind = "frame small" if drawing.preview else "frame nothing"  # a preview has a pixel for each of a latent
    room = "" if drawing.ended else _acts("", "", "", " waits")  # so that what is below stays where it is
    return f'<figure class="stage"><div class="{kind}">{inside}</div>{_progress(drawing)}{room}</figure>'


def _progress(drawing: Drawing) -> str:
    share = 100 * drawing.done / drawing.total if drawing.total else 0
    return (
        f'<div class="bar"><div style="width:{share:.1f}%"></div></div>'
        f'<figcaption role="status">{escape(status(drawing))}</figcaption>{notes(drawing.notes)}'
    )


def status(drawing: Drawing) -> str:
    """`Picture 2 of 4 · step 5 of 8 · 3 s left`."""
    if not drawing.total:
        return ""
    if drawing.ended == "closed":
        return f"Stopped at step {drawing.done:,.0f} of {drawing.total:,.0f}"
    which = f"Picture {min(drawing.of, len(drawing.pictures) + 1)} of {drawing.of}" if drawing.of > 1 else ""
    size = f"{drawing.info['width']} × {drawing.info['height']}" if drawing.info.get("width") else ""
    left = f"{duration(drawing.left)} left" if (drawing.left or 0) >= 1 and not drawing.over else ""
    step = f"step {drawing.done:,.0f} of {drawing.total:,.0f}"
    return " · ".join(part for part in (which, step, left, size, str(drawing.info.get("device") or "")) if part)


def notes(lines: Sequence[str]) -> str:
    """What the engine wants a person to know, such as words that the model could not read."""
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def large(address: str, picture: Mapping[str, Any], told: Sequence[str] = ()) -> str:
    """A picture {name, settings, made}, below it how it was made and what can be done with it."""
    settings = picture["settings"]
    prompt = str(settings.get("prompt") or "")
    small = " small" if max(_number(settings, "width"), _number(settings, "height")) <= SMALL else ""
    image = f'<img src="{escape(address)}" alt="{escape(prompt or "A picture")}">'
    about = " · ".join(part for part in (*map(escape, words(settings)), when(picture.get("made"))) if part)
    title = f'<b title="{escape(prompt)}">{escape(prompt)}</b>{_avoided(settings)}'
    return (
        f'<figure class="stage"><div class="frame{small}">{image}</div>'
        f"<figcaption>{title}<div>{about}</div></figcaption>{notes(told)}"
        f"{_acts(str(picture['name']), address, link(settings))}</figure>"
    )


def _acts(name: str, address: str, query: str, kind: str = "") -> str:
    """What can be done with the picture; of the `kind` that waits it only takes up its room."""
    buttons = [
        f'<button type="button" data-act="{act}" data-picture="{escape(name)}" title="{hint}"{more}>{title}</button>'
        for act, title, hint, more in ACTS
    ]
    save = f'<a href="{escape(address)}" download="{escape(name)}" title="With its settings inside">Download</a>'
    share = f'<button type="button" data-act="link" data-link="{escape(query)}" title="To its settings">Link</button>'
    return f'<div class="acts{kind}">{"".join(buttons[:-1])}{save}{share}{buttons[-1]}</div>'


def words(settings: Mapping[str, Any]) -> list[str]:
    """`64 × 64`, `seed 7`, `8 steps`, …: of what is there and says something."""
    found = []
    if _number(settings, "width") and _number(settings, "height"):
        found.append(f"{_number(settings, 'width'):.0f} × {_number(settings, 'height'):.0f}")
    for name, said in _WORDS.items():
        value = settings.get(name)
        if value in (None, "") or (name, value) == ("enlarge", 1):
            continue
        found.append(said.format(f"{value:.10g}" if isinstance(value, float) else value))
    for one in settings.get("adapters") or []:
        found.append(f"{named(str(one.get('name', '')))} at {float(one.get('weight', 1)):g}")
    return found


def named(name: str) -> str:
    """What an adapter is called: of an uploaded one its file."""
    return name.rpartition("/")[2] if name.startswith("upload/") else name


def _avoided(settings: Mapping[str, Any]) -> str:
    without = str(settings.get("negative_prompt") or "")
    return f" <span>without {escape(without)}</span>" if without else ""


def _number(settings: Mapping[str, Any], name: str) -> float:
    value = settings.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def strip(pictures: Sequence[Mapping[str, Any]], chosen: str, total: int) -> str:
    """Small pictures, newest first: {name, address, settings}; the `chosen` one is marked."""
    if not pictures:
        return '<p class="quiet strip-empty">Pictures you draw are kept here, newest first. Nobody else sees them.</p>'
    shown = "".join(
        f'<li><button type="button" data-act="open" data-picture="{escape(one["name"])}"'
        f'{" aria-current=true" if one["name"] == chosen else ""} title="{escape(_title(one["settings"]))}">'
        f'<img loading="lazy" src="{escape(one["address"])}" alt="{escape(_title(one["settings"]))}"></button></li>'
        for one in pictures
    )
    more = (
        f'<button type="button" class="more" data-act="more">Show more: {total - len(pictures):,} older</button>'
        if total > len(pictures)
        else ""
    )
    count = f"{total:,} picture{'s' * (total != 1)}"
    return f'<p class="quiet strip-count">{count}, newest first</p><ul class="strip">{shown}</ul>{more}'


def _title(settings: Mapping[str, Any]) -> str:
    prompt = str(settings.get("prompt") or "A picture")
    seed = settings.get("seed")
    return f"{prompt} · seed {seed}" if seed is not None else prompt


WAITS = "Now press another picture: both come under one slider. <button type=button data-act=close>Cancel</button>"


def pair(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What is under the slider: left and right."""
    left, right = _title(one["settings"]), _title(other["settings"])
    return f"Left: {escape(left)}<br>Right: {escape(right)} <button type=button data-act=close>Close</button>"


def table(across: Sequence[str], down: Sequence[str], made: Sequence[Mapping[str, str]]) -> str:
    """Pictures in the order of the cells, row by row; those still to come are empty."""
    head = "".join(f"<th scope=col>{escape(one)}</th>" for one in across)
    rows = []
    for row, name in enumerate(down):
        cells = made[row * len(across) : (row + 1) * len(across)]
        drawn = [
            f'<td><a href="{escape(one["address"])}" target="_blank" rel="noopener">'
            f'<img src="{escape(one["address"])}" alt="{escape(f"{across[column]} {name}".strip())}"></a></td>'
            for column, one in enumerate(cells)
        ]
        rows.append(
            f"<tr><th scope=row>{escape(name)}</th>{''.join(drawn)}{'<td></td>' * (len(across) - len(cells))}</tr>"
        )
    body = f"<thead><tr><td></td>{head}</tr></thead>{''.join(rows)}"
    return f'<div class="scroll"><table class="pictures">{body}</table></div>'


def read(settings: Mapping[str, Any]) -> str:
    """What a dropped picture told, now in the form."""
    return (
        f"In the form now: <b>{escape(str(settings.get('prompt') or ''))}</b>{_avoided(settings)} · "
        f"{escape(' · '.join(words(settings)))}"
    )


def link(settings: Mapping[str, Any]) -> str:
    """The part of an address that opens the form with these settings; pictures and adapters are not in it."""
    shown = {name: settings[name] for name in LINKED if settings.get(name) not in (None, "")}
    return urlencode({name: f"{value:g}" if isinstance(value, float) else value for name, value in shown.items()})


def linked(query: Mapping[str, str]) -> dict[str, Any]:
    """The settings that an address names; {} for none."""
    found = {name: str(query[name])[:10_000] for name in LINKED if name in query}
    return found if query.get("tab") == "images" else {}
