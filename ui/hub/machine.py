"""Resources as HTML: what is taken and what is free, over ten minutes, and who holds it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ui.views import size, text

WIDE, HIGH = 600, 60


def resources(told: Mapping[str, Any], span: float = 600.0) -> str:
    """Small curves of the last ten minutes over a list of holders."""
    now, past = told["now"], told["past"]
    pictures = [
        _picture(
            "Memory", past, "memory", "memory_total", f"{size(now['memory'])} of {size(now['memory_total'])}", span
        ),
        _picture("Cores", past, "cpu", "", f"{now['cpu']:.0%} of {told['cores']}", span),
        _picture("Disk", past, "disk", "disk_total", f"{size(now['disk'])} of {size(now['disk_total'])}", span),
    ]
    if "gpu" in now:
        memory = f"{size(now['gpu_memory'])} of {size(now['gpu_memory_total'])}"
        pictures += [
            _picture("GPU", past, "gpu", "", f"{now['gpu']:.0%}", span),
            _picture("GPU memory", past, "gpu_memory", "gpu_memory_total", memory, span),
        ]
    rows = "".join(_holder(one) for one in told["holders"])
    return (
        f'<div class="hub-gauges">{"".join(pictures)}</div><h3>Who holds memory</h3>'
        f'<div class="hub-scroll"><table class="hub-table"><tbody>{rows}</tbody></table></div>'
        '<p class="quiet">The last ten minutes, a sample every five seconds. Nothing of it is stored.</p>'
    )


def space(told: Mapping[str, Any]) -> str:
    """Other hardware for this Space, with its price; '' where it can't be had."""
    if not told:
        return ""
    options = "".join(
        f'<option value="{text(one["flavor"])}">{text(one["title"])} · {size(one["memory"])} · '
        f"${one['price']:.2f} an hour</option>"
        for one in told["hardware"]
    )
    return (
        f'<h3>Other hardware for {text(told["name"])}</h3><form data-act="upgrade" class="hub-search"><label>Hardware'
        f'<select name="hardware">{options}</select></label><button type="submit">Ask for it</button></form>'
        '<p class="quiet">You are the owner of this Space. It restarts; runs go on from their last checkpoint. '
        "It sleeps after an hour without visitors, and costs nothing then.</p>"
    )


def _picture(title: str, past: Sequence[Mapping[str, float]], key: str, total: str, words: str, span: float) -> str:
    """Shares from 0 to 1 over time; the newest at the right."""
    latest = past[-1]["at"]
    points = [
        (
            max(0.0, WIDE * (1 - (latest - one["at"]) / span)),
            HIGH * (1 - min(1.0, one[key] / (one[total] if total else 1))),
        )
        for one in past
        if key in one
    ]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    area = f"{points[0][0]:.0f},{HIGH} {line} {points[-1][0]:.0f},{HIGH}"
    return (
        f'<figure class="gauge"><figcaption><b>{text(title)}</b> <span>{text(words)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img"'
        f' aria-label="{text(title)}: {text(words)}">'
        f'<polygon points="{area}"/><polyline points="{line}"/></svg></figure>'
    )


def _holder(one: Mapping[str, Any]) -> str:
    title = "Free it" if one["key"] == "engine" else "Stop and save"
    button = (
        f'<button type="button" class="chip" data-act="free" data-key="{text(one["key"])}">{title}</button>'
        if one["key"] and one["mine"]
        else ""
    )
    return f"<tr><td>{text(one['what'])}</td><td>{size(one['bytes'])}</td><td>{button}</td></tr>"
