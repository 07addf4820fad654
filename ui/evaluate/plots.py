"""Measured models as pictures: bars, a scatter, a radar, lines over time. SVG that follows the theme; pure.

A point is {name, value, low, high, …}; low and high may be None; `place` says which colour its model has. Values are
written as `written(value)` has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ui import views

Point = Mapping[str, Any]
Written = Callable[[float], str]
WIDE = 640
COLOURS = ("#0d9488", "#d97706", "#6366f1", "#e11d48", "#0284c7", "#65a30d", "#9333ea", "#64748b")
_NAME = 26  # characters of a name beside a bar


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def bars(points: Sequence[Point], written: Written, share: bool) -> str:
    """A bar a model from 0 (or the least), with its interval as a line; a share goes to 1."""
    ends = [one[key] for one in points for key in ("value", "low", "high") if one[key] is not None]
    low, high = min(0.0, *ends), 1.0 if share else max(0.0, *ends) or 1.0
    left, right, step = 190, WIDE - 90, 34

    def at(value: float) -> float:
        return left + (right - left) * (value - low) / ((high - low) or 1)

    parts = []
    for place, one in enumerate(points):
        y = 8 + place * step
        parts.append(_text(left - 8, y + 15, _short(one["name"]), "end"))
        begin, end = sorted((at(0), at(one["value"])))
        parts.append(
            f'<rect x="{begin:.1f}" y="{y}" width="{max(1, end - begin):.1f}" height="20" rx="3" '
            f'fill="{colour(place)}" fill-opacity="0.75"><title>{views.text(one["name"])}: '
            f"{views.text(written(one['value']))}</title></rect>"
        )
        if one["low"] is not None:
            parts.append(_span(at(one["low"]), y + 10, at(one["high"]), y + 10))
        furthest = at(max(one["value"], one["high"] if one["high"] is not None else one["value"]))
        parts.append(_text(furthest + 8, y + 15, written(one["value"])))
    return _svg("".join(parts), 14 + step * len(points))


def scatter(points: Sequence[Point], written: Written, across: str, said: Written) -> str:
    """Quality upwards against `across` (of each point `x`) to the right, with intervals."""
    high, xs = 300, [one["x"] for one in points]
    ends = [one[key] for one in points for key in ("value", "low", "high") if one[key] is not None]
    x_of, y_of = _scale(xs, 70, WIDE - 40, zero=True), _scale(ends, high - 44, 16)
    parts = [_axes(high, ends, y_of, written), _text(WIDE - 20, high - 6, across, "end")]
    parts += [_text(x_of(x), high - 26, said(x), "middle", small=True) for x in _ticks(0.0, max(xs))]
    for place, one in enumerate(points):
        x, y = x_of(one["x"]), y_of(one["value"])
        if one["low"] is not None:
            parts.append(_span(x, y_of(one["low"]), x, y_of(one["high"])))
        title = f"{one['name']}: {written(one['value'])}, {said(one['x'])}"
        spot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour(one.get("place", place))}">'
        parts.append(f"{spot}<title>{views.text(title)}</title></circle>")
        side = "end" if x > WIDE * 0.7 else "start"
        parts.append(_text(x + (-11 if side == "end" else 11), y + 4, _short(one["name"]), side))
    return _svg("".join(parts), high)


def radar(axes: Sequence[str], models: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """A polygon a model over `axes`; values are shares of the best that could be, or was, 0 to 1."""
    high, middle, radius = 340, (WIDE / 2, 160), 120

    def spot(axis: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * axis / len(axes) - math.pi / 2
        return middle[0] + radius * share * math.cos(angle), middle[1] + radius * share * math.sin(angle)

    parts = []
    for ring in (0.25, 0.5, 0.75, 1.0):
        parts.append(f'<polygon points="{_path(spot(i, ring) for i in range(len(axes)))}" class="grid"/>')
    for i, name in enumerate(axes):
        x, y = spot(i, 1.12)
        side = "middle" if abs(x - middle[0]) < 20 else "start" if x > middle[0] else "end"
        parts.append(_text(x, y + 4, name, side, small=True))
    for place, (name, values) in enumerate(models):
        path = _path(spot(i, max(0.0, min(1.0, value or 0.0))) for i, value in enumerate(values))
        parts.append(
            f'<polygon points="{path}" fill="{colour(place)}" fill-opacity="0.14" stroke="{colour(place)}" '
            f'stroke-width="2"><title>{views.text(name)}</title></polygon>'
        )
    return _svg("".join(parts) + _legend([name for name, _ in models], high), high + 8 + 20 * len(models))


def lines(models: Mapping[str, Sequence[Point]], written: Written) -> str:
    """Each model's value over time; of a point `x` is a moment in seconds."""
    every = [one for points in models.values() for one in points]
    high, xs = 260, [one["x"] for one in every]
    ends = [one[key] for one in every for key in ("value", "low", "high") if one[key] is not None]
    x_of, y_of = _scale(xs, 70, WIDE - 40), _scale(ends, high - 36, 16)
    parts = [_axes(high, ends, y_of, written)]
    ends_of = ((min(xs), "start"), (max(xs), "end")) if max(xs) > min(xs) else ((xs[0], "middle"),)
    for x, side in ends_of:
        parts.append(_text(x_of(x), high - 8, f"{datetime.fromtimestamp(x, UTC):%Y-%m-%d %H:%M}", side, small=True))
    for place, (name, points) in enumerate(models.items()):
        found = [(x_of(one["x"]), y_of(one["value"])) for one in points]
        if len(found) > 1:
            parts.append(
                f'<polyline points="{_path(found)}" fill="none" stroke="{colour(place)}" stroke-width="2" '
                'stroke-opacity="0.7"/>'
            )
        for one, (x, y) in zip(points, found, strict=True):
            if one["low"] is not None:
                parts.append(_span(x, y_of(one["low"]), x, y_of(one["high"])))
            title = views.text(f"{name}: {written(one['value'])}")
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour(place)}"><title>{title}</title></circle>'
            )
    return _svg("".join(parts) + _legend(list(models), high), high + 8 + 20 * len(models))


def _scale(values: Sequence[float], begin: float, end: float, zero: bool = False) -> Callable[[float], float]:
    low, high = min(values), max(values)
    low = min(0.0, low) if zero else low
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = low - (0 if zero else room), high + room
    return lambda value: begin + (end - begin) * (value - low) / (high - low)


def _ticks(low: float, high: float) -> list[float]:
    """At most five round values."""
    if not high > low:
        return [low]
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(high: float, values: Sequence[float], y_of: Callable[[float], float], written: Written) -> str:
    parts = []
    for value in _ticks(min(values), max(values)):
        y = y_of(value)
        parts.append(f'<line x1="64" x2="{WIDE - 20}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(58, y + 4, written(value), "end", small=True))
    return "".join(parts)


def _span(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="whisker"/>'


def _path(spots: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)


def _legend(names: Sequence[str], top: float) -> str:
    return "".join(
        f'<circle cx="76" cy="{top + 8 + 20 * place}" r="5" fill="{colour(place)}"/>'
        + _text(88, top + 12 + 20 * place, _short(name))
        for place, name in enumerate(names)
    )


def _text(x: float, y: float, words: str, anchor: str = "start", small: bool = False) -> str:
    size = "11" if small else "13"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="currentColor">'
        f"{views.text(words)}</text>"
    )


def _short(name: str) -> str:
    name = name if name.startswith("run/") else views.short(name)
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _svg(inside: str, high: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDE} {high:.0f}" class="plot" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'font-family="system-ui, sans-serif">{inside}</svg>'
    )
