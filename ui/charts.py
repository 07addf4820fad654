"""Curves as small SVG pictures: a dozen of them take a page less than one plot of a plotting library would.

They follow the theme through CSS, show a single point, and tell the values under the pointer (charts.js). Coordinates
are whole numbers of a field of WIDE × HIGH.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ui.views import figure, number, text

WIDE, HIGH = 1000, 300
POINTS = 250  # of a curve; a picture is hardly wider in pixels
FEW = 24  # points that are also drawn as dots
Curve = Sequence[tuple[float, float]]  # (step, value), in order


@dataclass(frozen=True)
class Group:
    """Figures that belong in one picture."""

    key: str
    title: str
    names: tuple[str, ...]


GROUPS = (
    Group("loss", "Loss", ("loss", "eval_loss")),
    Group("reward", "Reward", ("reward", "eval_reward", "score", "mean_reward")),
    Group("margin", "Margin", ("rewards/margins", "eval_rewards/margins", "margin", "eval_margin")),
    Group(
        "accuracy", "Accuracy",
        ("rewards/accuracies", "eval_rewards/accuracies", "accuracy", "eval_accuracy", "mean_token_accuracy",
         "eval_mean_token_accuracy"),
    ),
    Group("sides", "Chosen and rejected", ("rewards/chosen", "rewards/rejected")),
    Group("kl", "KL from the base", ("kl", "approx_kl", "eval_kl")),
    Group("entropy", "Entropy", ("entropy", "eval_entropy")),
    Group("value", "Value loss", ("value_loss",)),
    Group("policy", "Policy loss", ("policy_loss",)),
    Group("rate", "Learning rate", ("learning_rate",)),
    Group("norm", "Gradient norm", ("grad_norm",)),
    Group("speed", "Tokens per second", ("tokens_per_second",)),
    Group("memory", "Memory, GB", ("memory_gb",)),
)  # fmt: skip
_BOOKKEEPING = ("epoch", "num_tokens", "rows_per_second", "train_loss", "steps", "seconds")
_MACHINE = "/machine "  # in the name of a figure: several that work on one run are drawn in one picture
POINTING = Path(__file__).with_name("charts.js").read_text()


def grouped(names: Sequence[str]) -> tuple[list[Group], list[Group]]:
    """(the groups that these figures belong to, the other figures one by one), in order."""
    known = [group for group in GROUPS if any(name in names for name in group.names)]
    taken = {name for group in known for name in group.names} | set(_BOOKKEEPING)
    rest = [name for name in names if name not in taken and not name.removeprefix("eval_").startswith(_BOOKKEEPING)]
    shared = {name: [one for one in sorted(rest) if one.partition(_MACHINE)[0] == name] for name in sorted(rest)}
    return known, [Group(name.replace("/", "-"), figure(name), tuple(names)) for name, names in shared.items() if names]


def page(curves: Mapping[str, Curve]) -> str:
    """All pictures of a run; those that few people look for are folded away."""
    known, rest = grouped([name for name, curve in curves.items() if curve])
    shown = "".join(picture(group, curves) for group in known)
    more = "".join(picture(group, curves) for group in rest)
    folded = f'<details class="more-charts"><summary>{len(rest)} more figures</summary><div class="charts">{more}</div>'
    return f'<div class="charts">{shown}</div>' + (f"{folded}</details>" if rest else "") if shown or more else ""


def picture(group: Group, curves: Mapping[str, Curve]) -> str:
    """One picture with its newest values."""
    there = {name: curves[name] for name in group.names if curves.get(name)}
    first = next(iter(there))
    beside = {name: name.partition(_MACHINE)[2] for name in there}
    of_machines = any(beside.values())
    called = {name: f"machine {beside[name] or 1}" if of_machines else figure(name) for name in there}
    return draw(group.key, group.title, {called[name]: curve for name, curve in there.items()}, first)


def draw(key: str, title: str, curves: Mapping[str, Curve], name: str = "") -> str:
    """A picture of `curves` by what they are called; `name` is the figure that says how values are written."""
    points = [point for curve in curves.values() for point in curve]
    x0, x1 = min(x for x, _ in points), max(x for x, _ in points)
    y0, y1 = _bounds([y for _, y in points])
    field, many = (x0, x1, y0, y1), len(curves) > 1
    lines = "".join(_curve(place, called, curve, field, many) for place, (called, curve) in enumerate(curves.items()))
    newest = " ".join(
        f'<span class="key key-{place % 6}"><b>{text(number(name, curve[-1][1]))}</b>'
        f"{f' {text(called)}' if many else ''}</span>"
        for place, (called, curve) in enumerate(curves.items())
    )
    said = f"{title}: " + ", ".join(f"{called} {number(name, curve[-1][1])}" for called, curve in curves.items())
    return (
        f'<figure class="chart" id="run-{text(key)}"><figcaption><b>{text(title)}</b>'
        f'<span class="newest">{newest}</span><span class="pointed"></span></figcaption>'
        f'<div class="field"><span class="top">{text(number(name, y1))}</span>'
        f'<span class="bottom">{text(number(name, y0))}</span>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" aria-label="{text(said)}" '
        f'data-field="{x0:g} {x1:g} {y0!r} {y1!r}">{lines}</svg></div>'
        f'<div class="ends"><span>step {x0:,.0f}</span><span>{f"{x1:,.0f}" if x1 > x0 else ""}</span></div></figure>'
    )


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest; a flat curve runs through the middle."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))


def _curve(place: int, called: str, curve: Curve, field: tuple[float, float, float, float], many: bool) -> str:
    x0, x1, y0, y1 = field
    every = max(1, math.ceil(len(curve) / POINTS))
    kept = [*curve[:-1:every], curve[-1]]
    spots = [
        (round((x - x0) / (x1 - x0) * WIDE) if x1 > x0 else WIDE // 2, round((y1 - y) / (y1 - y0) * HIGH))
        for x, y in kept
    ]
    line = "L".join(f"{x},{y}" for x, y in spots)
    dots = "".join(f"M{x},{y}h0" for x, y in spots) if len(spots) <= FEW else ""
    name = text(called if many else "")
    return (
        f'<path class="curve key-{place % 6}" data-name="{name}" d="M{line}"/>'
        f'<path class="dots key-{place % 6}" d="{dots}"/>'
    )
