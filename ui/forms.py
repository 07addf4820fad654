"""A Params model → Gradio components → a plain dict. Only this file knows the order of inputs.

Numbers and lists are text fields: what a person typed reaches the model's own validator as it is, and its message
comes back, where a number field would have turned it into 0 or nothing.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_FAR = 100_000  # an upper bound from here on is told when it is met


class Form:
    """Draws a field for each of `model`'s, where it is made: `basic` ones first, the rest under More settings.

    Fields in `hidden`, and with `only` all others, are not drawn and not read. `components` are in the order that
    `read` and `fill` use.
    """

    def __init__(
        self,
        model: type[BaseModel],
        basic: Sequence[str] = (),
        hidden: Sequence[str] = (),
        prefix: str = "form",
        only: Sequence[str] = (),
    ) -> None:
        self.model = model
        shown = [name for name in only or model.model_fields if name not in hidden]
        first = [name for name in basic if name in shown] or shown
        rest = [name for name in shown if name not in first]
        self.names = [*first, *rest]
        self.components: list[gr.components.Component] = []
        self._draw(first, prefix)
        if rest:
            with gr.Accordion("More settings", open=False, elem_id=f"{prefix}-more"):
                self._draw(rest, prefix)

    def _draw(self, names: Sequence[str], prefix: str) -> None:
        with gr.Row(elem_classes="fields"):
            for name in names:
                elem_id = f"{prefix}-{name.replace('_', '-')}"
                self.components.append(_component(name, self.model.model_fields[name], elem_id))

    def read(self, *values: Any) -> dict[str, Any]:
        """What the components hold, by field name; text stays text, so that the validator judges it."""
        fields = self.model.model_fields
        return {name: _given(fields[name], value) for name, value in zip(self.names, values, strict=True)}

    def fill(self, params: Mapping[str, Any]) -> list[Any]:
        """One update per component that shows `params`; a field that `params` lacks gets its default."""
        fields = self.model.model_fields
        return [
            gr.update(value=_shown(fields[name], params.get(name, fields[name].get_default(call_default_factory=True))))
            for name in self.names
        ]


def title(name: str, field: FieldInfo) -> str:
    """`per_device_train_batch_size` → `Per device train batch size`, unless the field has a title."""
    return field.title or name.replace("_", " ").capitalize()


def _component(name: str, field: FieldInfo, elem_id: str) -> gr.components.Component:
    kinds, optional = _kinds(field)
    default = _shown(field, field.get_default(call_default_factory=True))
    about: dict[str, Any] = {"label": title(name, field), "elem_id": elem_id, "min_width": 180}
    about["info"] = _info(field, optional and default == "" and not _choices(field)) or None
    if choices := _choices(field):
        return gr.Dropdown([(_word(choice), choice) for choice in choices], value=default, **about)
    if kinds == [bool]:
        return gr.Checkbox(value=bool(default), **about)
    return gr.Textbox(default, lines=1, max_lines=1 if kinds != [str] else 6, **about)


def _info(field: FieldInfo, optional: bool) -> str:
    """The description and the range, in words."""
    parts = [(field.description or "").strip().rstrip("."), _range(field)]
    parts.append("may stay empty" if optional and "empty" not in parts[0].lower() else "")
    return ". ".join(part[0].upper() + part[1:] for part in parts if part)


def _range(field: FieldInfo) -> str:
    """`1 to 1,024`, `above 0, up to 10`; bounds that nobody comes near are not said, and no `from 0` alone."""
    bounds = {
        name: f"{bound:,.10g}"
        for name in ("ge", "gt", "le", "lt")
        for rule in field.metadata
        if (bound := getattr(rule, name, None)) is not None and bound < _FAR
    }
    if "ge" in bounds and "le" in bounds:
        return f"{bounds['ge']} to {bounds['le']}"
    if bounds == {"ge": "0"}:
        return ""
    words = (("ge", "from {}"), ("gt", "above {}"), ("le", "up to {}"), ("lt", "below {}"))
    return ", ".join(word.format(bounds[name]) for name, word in words if name in bounds)


def _kinds(field: FieldInfo) -> tuple[list[Any], bool]:
    """The types a value may have, None left out, and whether None may be."""
    annotation = field.annotation
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    kinds = [get_origin(kind) or kind for kind in members if kind is not type(None)]
    return kinds, type(None) in members


def _choices(field: FieldInfo) -> list[Any]:
    """What a field whose type is one Literal allows; the None of an optional one is among them."""
    annotation = field.annotation
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if any(get_origin(kind) is not Literal for kind in members if kind is not type(None)):
        return []
    return [choice for kind in members for choice in (get_args(kind) or (None,))]


def _word(choice: Any) -> str:
    return "none" if choice is None else str(choice).replace("_", " ")


def _given(field: FieldInfo, value: Any) -> Any:
    kinds, optional = _kinds(field)
    if not isinstance(value, str) or _choices(field):
        return value
    if kinds == [str]:
        return None if optional and not value else value
    text = value.strip()
    if not text and optional:
        return None
    if kinds == [dict]:
        pairs = [part.partition(":") for part in text.split(",") if part.strip()]
        return {name.strip(): said.strip() for name, _, said in pairs} if all(colon for _, colon, _ in pairs) else text
    if any(kind in (list, tuple, set) for kind in kinds) and not (str in kinds and "," not in text):
        return [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()]
    return text


def _shown(field: FieldInfo, value: Any) -> Any:
    if _choices(field) or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name}: {said}" for name, said in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(str(part) for part in value)
    return "" if value is None else str(value).removesuffix(".0") if isinstance(value, float) else str(value)
