"""The fields of a request: how they are drawn, read into what the engine is asked, and filled from a picture."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from backend.engines.image import SCHEDULERS, ImageParams
from backend.errors import BadInput
from ui.images.desk import PRIVATE

STARTER = ImageParams.model_fields["model"].default
FIRST = "a smiling cat"
EXAMPLES = (FIRST, "a red apple on blue", "a purple ghost", "a slice of pizza")
PRESETS = {  # what the buttons set; fields not named here become the model's own
    "Usual": {},
    "Quick": {"steps": 4},
    "Fine": {"steps": 20},
    "Four": {"count": 4},
}
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
STYLES = {  # of the starter, which knows colours, and of all others: what the words of the prompt stand in
    STARTER: {"As written": "{}"} | {f"On {one}": f"{{}}, {one} background" for one in COLOURS},
    "": {
        "As written": "{}",
        "Photograph": "{}, photograph, natural light, sharp focus",
        "Watercolour": "{}, watercolour painting on textured paper",
        "Oil painting": "{}, oil painting, visible brush strokes",
        "Line drawing": "{}, line drawing, black ink on white paper",
        "3D render": "{}, 3D render, soft studio light",
        "Pixel art": "{}, pixel art, limited palette",
    },
}
WEARS = 3  # adapters that can be worn at once
_PLAIN = ("negative_prompt", "steps", "guidance", "width", "height", "count")


class Fields:
    """Components by name, in the order in which their values come. What is not a request's own is `asked`'s to read."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add(self, **components: Any) -> None:
        self.by_name |= components

    def __getitem__(self, name: str) -> Any:
        return self.by_name[name]

    @property
    def components(self) -> list[Any]:
        return list(self.by_name.values())

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self.by_name, values, strict=True))

    # -- drawn, in the order of the page ------------------------------------------------------------------------

    def settings(self) -> None:
        """How it is drawn."""
        with gr.Row(elem_classes="fields"):
            self.add(**{name: _field(name) for name in _PLAIN})
        scheduler = gr.Dropdown(
            [("the model's own", ""), *((one, one) for one in SCHEDULERS)], value="", label="Scheduler",
            info="How noise is taken away", elem_id="image-scheduler",
        )  # fmt: skip
        with gr.Row(elem_id="image-seeds", equal_height=True):
            seed = gr.Textbox("0", label="Seed", info="The same seed and settings give the same picture",
                              max_lines=1, min_width=140, elem_id="image-seed")  # fmt: skip
            dice = gr.Button("Another", size="sm", scale=0, min_width=110, elem_id="image-dice")
        fresh = gr.Checkbox(True, label="A new seed for each picture", elem_id="image-fresh")
        dice.click(another, None, seed, **PRIVATE)
        for event in (dice.click, seed.input):  # in the page itself: Enter may follow at once
            event(None, None, fresh, js="() => false", **PRIVATE)
        self.add(scheduler=scheduler, seed=seed, fresh=fresh)

    # -- read ---------------------------------------------------------------------------------------------------

    def asked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the engine is asked, of the values by name; pictures are added by `ui.images.begin`. Raises BadInput."""
        prompt = str(given["prompt"] or "").strip()
        if not prompt:
            raise BadInput("The prompt is empty.", "Write what to draw, for example “a smiling cat”.")
        model = str(given["model"] or "").strip() or STARTER
        way = styles(model).get(str(given["style"]), "{}")
        plain = {name: str(given[name] if given[name] is not None else "").strip() for name in (*_PLAIN, "seed")}
        asked: dict[str, Any] = {name: value for name, value in plain.items() if value} | {
            "prompt": way.replace("{}", prompt),
            "model": model,
            "scheduler": given["scheduler"] or "",
            "adapters": worn(given),
        }
        asked["seed"] = whole(asked.get("seed") or "0", "Seed")
        for name in ("steps", "count", "width", "height"):
            if name in asked:
                asked[name] = whole(asked[name], ImageParams.model_fields[name].title or name)
        return asked

    def fill(self, settings: Mapping[str, Any]) -> dict[Any, Any]:
        """Updates that show a picture's settings; what it does not tell becomes the model's own."""
        updates: dict[Any, Any] = {self[name]: _shown(name, settings.get(name)) for name in _PLAIN if name != "count"}
        updates |= {
            self["style"]: "As written",
            self["scheduler"]: str(settings.get("scheduler") or ""),
        }
        for name in ("prompt", "strength"):
            if settings.get(name):
                updates[self[name]] = str(settings[name])
        if settings.get("seed") is not None:
            updates |= {self["seed"]: str(settings["seed"]), self["fresh"]: False}
        if model := str(settings.get("model") or ""):
            updates[self["model"]] = model
            updates[self["style"]] = gr.update(choices=list(styles(model)), value="As written")
        if "adapters" in settings:
            wear = [(str(one.get("name", "")), float(one.get("weight", 1))) for one in settings["adapters"]]
            for number in range(WEARS):
                name, weight = wear[number] if number < len(wear) else ("", 1.0)
                updates |= {self[f"adapter_{number}"]: name, self[f"weight_{number}"]: weight}
        return updates


def _field(name: str) -> gr.Textbox:
    """A setting of the request; empty is the model's own."""
    about = ImageParams.model_fields[name]
    own = "none" if name == "negative_prompt" else "1" if name == "count" else "default"
    return gr.Textbox(
        "", label=about.title, placeholder=own, max_lines=1 if name != "negative_prompt" else 4, min_width=100,
        elem_id=f"image-{name.replace('_', '-')}",
    )  # fmt: skip


def another() -> str:
    """A seed that nobody chose."""
    return str(secrets.randbelow(2**32))


def styles(model: str) -> dict[str, str]:
    return STYLES.get(model, STYLES[""])


def worn(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The adapters that are chosen, with their weights."""
    names = [(str(given.get(f"adapter_{number}") or "").strip(), number) for number in range(WEARS)]
    return [{"name": name, "weight": given[f"weight_{number}"]} for name, number in names if name]


def whole(text: str, title: str) -> int:
    """Raises BadInput for what is no whole number."""
    digits = str(text).strip()
    if not digits.lstrip("-").isdigit():
        raise BadInput(f"{title} is {digits[:40]!r}; it must be a whole number.", "For example 8.")
    return int(digits)


def _shown(name: str, value: Any) -> str:
    """Empty for the model's own; guidance 0 is a setting like others."""
    if value is None or (not value and name != "guidance"):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
