"""Two settings tried against one another: which requests that makes, and in which cells they go. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import BadInput
from ui.views import duration, plural

MOST = 64  # pictures of one table
# What can be tried, in the words of the page. `words` replaces a word of the prompt: the first value is the one there;
# `weight` is of the first adapter.
AXES = {
    "": "nothing",
    "guidance": "Guidance",
    "steps": "Steps",
    "seed": "Seed",
    "words": "Words",
    "negative_prompt": "Negative prompt",
    "scheduler": "Scheduler",
    "strength": "Strength",
    "weight": "Weight",
    "model": "Model",
    "width": "Width",
    "height": "Height",
}
EXAMPLES = {
    "guidance": "1, 2, 4, 8",
    "steps": "2, 4, 8, 16",
    "seed": "1, 2, 3, 4",
    "words": "cat, dog, fish",
    "negative_prompt": "none, red",
    "scheduler": "ddim, euler, dpm++",
    "strength": "0.3, 0.5, 0.7, 0.9",
    "weight": "0, 0.5, 1",
}
_WHOLE = ("steps", "seed", "width", "height")
_NUMBERS = (*_WHOLE, "guidance", "strength", "weight")


@dataclass(frozen=True)
class Axis:
    """One setting and the values it is tried with; none is one column of what is set already."""

    name: str
    values: tuple[Any, ...]

    @property
    def heads(self) -> list[str]:
        """What stands above its columns or beside its rows."""
        if not self.name:
            return [""]
        return [f"{AXES[self.name]}: {_said(value)}" if self.name != "words" else str(value) for value in self.values]


def axis(name: str, text: str) -> Axis:
    """What was typed: values separated by commas; `1-4` are the whole numbers between. Raises BadInput."""
    if not name:
        return Axis("", (None,))
    if name not in AXES:
        raise BadInput(f"{name[:40]!r} can't be tried.", f"Choose one of {', '.join(filter(None, AXES))}.")
    values: list[Any] = []
    for part in text.split(","):
        if span := re.fullmatch(r"(\d{1,9})\s*(?:-|–|…|\.\.\.?)\s*(\d{1,9})", part.strip()) if name in _WHOLE else None:
            first, last = int(span[1]), int(span[2])
            if not first <= last < first + MOST:
                raise BadInput(f"{part.strip()} has {last - first + 1:,} values; at most {MOST}.", "Write 1-4, say.")
            values += range(first, last + 1)
        elif part.strip():
            values.append(_value(name, part.strip()))
    if not values:
        raise BadInput(f"{AXES[name]} has no values to try.", f"Write them with commas: {EXAMPLES.get(name, 'a, b')}.")
    return Axis(name, tuple(dict.fromkeys(values)))


def _value(name: str, text: str) -> Any:
    if name not in _NUMBERS:
        return "" if (name, text) == ("negative_prompt", "none") else text
    if not re.fullmatch(r"-?\d+" if name in _WHOLE else r"-?\d*\.?\d+", text):
        kind = "a whole number" if name in _WHOLE else "a number"
        raise BadInput(f"{AXES[name]}: {text[:40]!r} is not {kind}.", f"For example {EXAMPLES.get(name, '64, 128')}.")
    return int(text) if name in _WHOLE else float(text)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def requests(asked: Mapping[str, Any], across: Axis, down: Axis) -> list[list[dict[str, Any]]]:
    """Rows of requests, one picture each. Raises BadInput for too many, or one setting on both sides."""
    if across.name and across.name == down.name:
        raise BadInput(f"{AXES[across.name]} is on both sides.", "Choose another setting for one of them.")
    if (many := len(across.values) * len(down.values)) > MOST:
        raise BadInput(f"That would be {many:,} pictures; at most {MOST} in one table.", "Try fewer values.")
    return [
        [_with(_with({**asked, "count": 1}, down, value), across, other) for other in across.values]
        for value in down.values
    ]


def _with(asked: dict[str, Any], axis: Axis, value: Any) -> dict[str, Any]:
    if not axis.name:
        return asked
    if axis.name == "words":
        prompt, word = str(asked.get("prompt", "")), str(axis.values[0])
        if word not in prompt:
            raise BadInput(f"The prompt has no {word!r}.", "Give the word that stands there first, then others for it.")
        return {**asked, "prompt": prompt.replace(word, str(value))}
    if axis.name == "weight":
        adapters: Sequence[Mapping[str, Any]] = asked.get("adapters") or []
        if not adapters:
            raise BadInput("There is no adapter whose weight could be tried.", "Choose one under Model and adapters.")
        return {**asked, "adapters": [{**adapters[0], "weight": value}, *adapters[1:]]}
    return {**asked, axis.name: value}


def told(many: int, seconds: float) -> str:
    """`12 pictures, about 20 s`: before they are begun. `seconds` is what all take, 0 while nobody knows."""
    time = f"about {duration(max(1.0, seconds))}" if seconds else "how long is known after the first"
    return f"{plural(many, 'picture')}, {time}"
