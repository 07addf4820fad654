"""How answers are written: the form of the settings, and system prompts to begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from backend.engines.text import ChatParams, CompleteParams
from ui.forms import Form

BASIC = ("temperature", "max_new_tokens", "top_p", "seed", "system")
HIDDEN = ("model", "adapter", "messages", "prompt", "continue_final", "alternatives")
PRESETS = {
    "Brief": "Answer in one or two short sentences.",
    "Patient teacher": "You are a patient teacher. Explain step by step, with an everyday example.",
    "Critical reader": "You are a critical reader. Say what is wrong or missing, most important first.",
    "Translator": "You are a translator. Translate every message into English and write nothing else.",
    "Only code": "You are a programmer. Answer with code and nothing else.",
}
ALTERNATIVES = 5  # likely tokens told beside each one
_BAR = (
    '<div class="presets"><label>System prompts <select></select></label>'
    '<button type="button" class="save">Save this one</button><button type="button" class="drop">Forget</button></div>'
)


class Writing:
    """The settings of one side: a form whose values travel together."""

    def __init__(self, params: type[ChatParams] | type[CompleteParams], prefix: str) -> None:
        bar = presets(f"{prefix}-system") if "system" in params.model_fields else None
        self._form = Form(params, BASIC, HIDDEN, prefix=prefix)
        self.components = self._form.components
        if bar:
            bar.select(lambda text: text, bar, self["system"], api_visibility="private", show_progress="hidden")

    def __getitem__(self, name: str) -> Any:
        """The component of one setting."""
        return self.components[self._form.names.index(name)]

    def read(self, values: Sequence[Any]) -> dict[str, Any]:
        """What was typed, by name; empty fields are left out and so take their default."""
        return {name: value for name, value in self._form.read(*values).items() if value not in ("", None)}

    def fill(self, settings: Mapping[str, Any]) -> list[Any]:
        """Updates that show `settings`, defaults where they say nothing."""
        return self._form.fill(settings)


def presets(field: str) -> gr.HTML:
    """A list of system prompts for the text field with the id `field`; a visitor's own are kept in the browser."""
    listen = f"atelier.presets(element, {json.dumps(PRESETS)}, {json.dumps(field)}, props, trigger);"
    return gr.HTML("", html_template=_BAR, js_on_load=listen, padding=False, apply_default_css=False)
