"""Pictures hold their points: inside the frame, in the right order, with their intervals."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ui.evaluate import plots

POINTS = [
    {"name": "a/one", "value": 0.8, "low": 0.7, "high": 0.9, "x": 2.0},
    {"name": "run/two", "value": 0.3, "low": None, "high": None, "x": 1.0},
]


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def numbers(text: str, tag: str, name: str) -> list[float]:
    return [
        float(one.get(name, ""))
        for one in ElementTree.fromstring(text).iter()
        if one.tag.endswith(tag) and one.get(name)
    ]


def test_bars_are_as_long_as_their_values() -> None:
    text = plots.bars(POINTS, percent, True)
    first, second = numbers(text, "rect", "width")
    assert first / second == 0.8 / 0.3 or abs(first / second - 8 / 3) < 0.01
    assert text.count("whisker") == 1
    assert "80 %" in text
    assert plots.bars([{"name": "m", "value": -1.0, "low": None, "high": None}], str, False).count("<rect") == 1


def test_a_scatter_has_better_upwards_and_dearer_to_the_right() -> None:
    text = plots.scatter(POINTS, percent, "Seconds", lambda value: f"{value} s")
    (x1, x2), (y1, y2) = numbers(text, "circle", "cx"), numbers(text, "circle", "cy")
    assert x1 > x2
    assert y1 < y2
    assert all(0 < x < plots.WIDE for x in (x1, x2))
    one = [POINTS[0] | {"x": 0.0}]
    assert "nan" not in plots.scatter(one, percent, "Seconds", str)


def test_a_radar_and_lines() -> None:
    text = plots.radar(["a", "b", "c"], [("one", [1.0, 0.5, None]), ("two", [2.0, -1.0, 0.1])])
    assert text.count('fill-opacity="0.14"') == 2
    assert all(0 <= float(one) <= plots.WIDE for one in re.findall(r"([\d.]+),[\d.]+", text))
    text = plots.lines({"one": POINTS, "two": POINTS[:1]}, percent)
    assert text.count("<polyline") == 1
    assert text.count("<title>") == 3


def test_ticks_are_round() -> None:
    assert plots._ticks(0, 1) == [0, 0.5, 1.0] or len(plots._ticks(0, 1)) <= 5
    assert [round(one, 6) for one in plots._ticks(0.13, 0.61)] == [0.2, 0.4, 0.6]
    assert plots._ticks(3, 3) == [3]
