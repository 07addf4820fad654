"""A task's result as HTML: bars, marked words, a heat map, text. Pure, knows no Gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_HUES = 6  # colours for kinds of names, in tasks.css


def result(values: Mapping[str, Any], text: str = "") -> str:
    """The picture of what an engine's Finished holds; `text` is what was read, for names and answers in it."""
    if "labels" in values:
        drawn = bars(values["labels"])
    elif "entities" in values:
        drawn = marked(text, values["entities"])
    elif "answer" in values:
        drawn = f"<p class=task-text>{escape(values['answer']) or '<i>no answer</i>'}</p>"
        if "start" in values:
            span = {"start": values["start"], "end": values["end"], "label": f"{values['score']:.0%}"}
            drawn += marked(text, [span])
    elif "matrix" in values:
        drawn = heat(values["texts"], values["matrix"])
    elif "vectors" in values:
        drawn = vectors(values["texts"], values["vectors"])
    else:
        drawn = f"<p class=task-text>{escape(values.get('text', '')) or '<i>nothing was said</i>'}</p>"
    seconds = values.get("seconds", 0)
    return f"{drawn}<p class=quiet>{escape(str(values.get('how', '')))} · {seconds:.2f} s</p>"


def writing(text: str) -> str:
    """Text that is still being written."""
    return f"<p class=task-text>{escape(text)}</p>"


def bars(labels: Sequence[Mapping[str, Any]]) -> str:
    """Labels with their scores; a cosine may be below 0 and is then an empty bar."""
    rows = "".join(
        f"<tr><th scope=row>{escape(str(one['label']))}</th><td class=task-bar><div style='width:"
        f"{max(0.0, min(1.0, one['score'])) * 100:.1f}%'></div></td><td class=task-score>{one['score']:.3f}</td></tr>"
        for one in labels
    )
    return f"<table class=task-bars>{rows}</table>"


def marked(text: str, spans: Sequence[Mapping[str, Any]]) -> str:
    """The text with `spans` {start, end, label} coloured by label, the label beside each."""
    kinds = list(dict.fromkeys(span["label"] for span in spans))
    parts, at = [], 0
    for span in sorted(spans, key=lambda one: one["start"]):
        if span["start"] < at or span["end"] <= span["start"]:
            continue
        hue = kinds.index(span["label"]) % _HUES
        inside = escape(text[span["start"] : span["end"]])
        parts.append(
            f"{escape(text[at : span['start']])}<mark class=hue-{hue}>{inside} <b>{escape(span['label'])}</b></mark>"
        )
        at = span["end"]
    nothing = "" if spans else "<p class=quiet>No names found.</p>"
    return f"<p class=task-text>{''.join(parts)}{escape(text[at:])}</p>{nothing}"


def heat(texts: Sequence[str], matrix: Sequence[Sequence[float]]) -> str:
    """Each text with each: the darker, the more alike."""
    head = "".join(f"<th scope=col title='{escape(text, quote=True)}'>{n}</th>" for n, text in enumerate(texts, 1))
    rows = "".join(
        f"<tr><th scope=row><span>{n}</span> {escape(text)}</th>"
        + "".join(f"<td style='--heat:{max(0.0, score) * 100:.0f}%'>{score:.2f}</td>" for score in row)
        + "</tr>"
        for n, (text, row) in enumerate(zip(texts, matrix, strict=True), 1)
    )
    return f"<div class=task-scroll><table class=task-heat><thead><tr><td></td>{head}</tr></thead>{rows}</table></div>"


def vectors(texts: Sequence[str], found: Sequence[Sequence[float]]) -> str:
    """The beginning of each vector, as a strip of colours."""
    rows = "".join(
        f"<tr><th scope=row>{escape(text)}</th><td><div class=task-strip>"
        + "".join(f"<i style='--heat:{min(100.0, 50 + value * 300):.0f}%'></i>" for value in vector[:96])
        + "</div></td></tr>"
        for text, vector in zip(texts, found, strict=True)
    )
    return f"<div class=task-scroll><table class=task-heat>{rows}</table></div>"
