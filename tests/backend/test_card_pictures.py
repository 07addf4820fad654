"""The card of what taught an image model: diffusers' metadata, the pictures, no path of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from backend.card_pictures import drawn, image_card


def status(recipe: str = "image_lora", **params: Any) -> dict[str, Any]:
    given = {"model": "someone/model", "dataset": "upload/1/mine.zip", "num_validation_images": 1, **params}
    return {"id": "ab12", "recipe": recipe, "params": given, "metrics": {"steps": 20, "train_loss": 0.25}}


def run(folder: Path) -> Path:
    for step in (9, 20):
        (folder / f"samples/step-{step}").mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (8, 8)).save(folder / f"samples/step-{step}" / f"{number}-0.png")
    return folder


def test_it_has_the_metadata_of_diffusers_own_scripts(tmp_path: Path) -> None:
    text = image_card(status(), run(tmp_path))
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["base_model"], front["library_name"]) == ("someone/model", "diffusers")
    assert front["instance_prompt"] == "a sks figure"
    assert {"text-to-image", "diffusers", "lora", "template:sd-lora"} <= set(front["tags"])
    assert front["widget"][0] == {"text": "a sks figure", "output": {"url": "pictures/1-0.png"}}
    assert 'pipeline.load_lora_weights("THIS_REPOSITORY")' in text
    assert [path.parent.name for path in drawn(tmp_path)] == ["step-20", "step-20"]


def test_a_word_is_told_and_no_path(tmp_path: Path) -> None:
    text = image_card(status("textual_inversion", model="/secret/place/model", dataset="sample/mascot"), tmp_path)
    front = yaml.safe_load(text.split("---\n")[1])
    assert "textual_inversion" in front["tags"]
    assert "base_model" not in front
    assert "The word `<thing>`" in text
    assert "load_textual_inversion" in text
    assert "CC0-1.0" in text
    assert "/secret" not in text
