"""Teaching a pipeline of random weights: a run that stops and goes on ends in the weights of one that did not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from backend import events as ev
from backend.errors import LabError
from backend.recipes import device, image_lora, image_model, image_training, process, textual_inversion, training
from backend.recipes.params import check

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"max_steps": 6, "save_steps": 3, "num_validation_images": 0, "per_device_train_batch_size": 2}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[ev.Event]:
    """The events that runs tell of."""
    found: list[ev.Event] = []
    for module in (image_training, image_lora, training):
        monkeypatch.setattr(module, "say", found.append)
    monkeypatch.setattr(process, "say", found.append)
    return found


def run(recipe: Any, folder: Path, model: Path, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    recipe.run(check(recipe.Params, {"model": str(model), **QUICK, **more}), folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(next((folder / "adapter").glob("*.safetensors")))
    return dict(found)


@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        (image_lora, {"lora_dropout": 0.1, "gradient_accumulation_steps": 2, "train_text_encoder": True}),
        (textual_inversion, {"placeholder_token": "<pip>", "initializer_token": "cat"}),
    ],
)
def test_it_stops_saved_and_goes_on_to_the_same_weights(
    recipe: Any, more: dict[str, Any], tiny_image: Path, tmp_path: Path, said: list[ev.Event]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(recipe, whole, tiny_image, **more)
    assert isinstance(said[-1], ev.Finished)
    said.clear()

    class Stopping(list[ev.Event]):
        def append(self, event: ev.Event) -> None:
            super().append(event)
            if isinstance(event, ev.Measured) and event.step == 3 and not (parts / "went").exists():
                (parts / "went").touch()
                (parts / "stop").write_text("save")

    heard = Stopping()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_training, "say", heard.append)
        run(recipe, parts, tiny_image, **more)
    paused = heard[-1]
    assert isinstance(paused, ev.Paused)
    assert 3 <= paused.step < 6
    (parts / "stop").unlink()
    run(recipe, parts, tiny_image, **more)
    started = next(one for one in said if isinstance(one, ev.Started))
    assert started.step == paused.step
    assert isinstance(said[-1], ev.Finished)
    one, other = weights(whole), weights(parts)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_what_it_tells(tiny_image: Path, tmp_path: Path, said: list[ev.Event]) -> None:
    run(image_lora, tmp_path / "run", tiny_image, num_validation_images=1, validation_steps=1, save_steps=3)
    drawn = [one for one in said if isinstance(one, ev.Produced) and one.kind == "samples"]
    assert [one.step for one in drawn] == [0, 3, 6]
    row = drawn[0].data["rows"][0]
    assert row["prompt"] == "a sks figure"
    assert row["picture"].startswith("data:image/webp;base64,")
    assert (tmp_path / "run" / row["file"]).is_file()
    measured = [one for one in said if isinstance(one, ev.Measured)]
    assert {"loss", "grad_norm", "learning_rate", "pictures_per_second", "memory_gb"} <= measured[-1].values.keys()
    made = [one for one in said if isinstance(one, ev.Produced) and one.kind == "image_lora"]
    assert [(one.file, one.step) for one in made] == [("adapter", 6)]
    told = json.loads((tmp_path / "run" / "adapter" / "adapter.json").read_text())
    assert told == {"base_model": str(tiny_image), "kind": "image_lora", "token": "a sks figure", "rank": 8}
    said.clear()
    run(image_lora, tmp_path / "run", tiny_image)
    assert isinstance(said[-1], ev.Finished)
    assert said[-1].reason == "had finished already"


def test_after_each_new_picture_comes_one_to_keep(tiny_image: Path, tmp_path: Path) -> None:
    painter = image_model.Painter.load(str(tiny_image), device.choose(device.Machine(), "fp32"))
    params = check(image_lora.Params, {"model": str(tiny_image), **QUICK})
    nothing = torch.zeros(4, 8, 8)
    examples = [image_training.Example(nothing, f"new {at}") for at in range(3)]
    examples += [image_training.Example(nothing, f"old {at}", 1.0, True) for at in range(5)]
    trainer = image_training.Trainer(painter, image_lora.Lora(painter, params), examples, params, tmp_path)
    seen = [one.caption for number in range(15) for one in trainer.drawn(number)]
    assert {name: seen.count(name) for name in seen} == {f"new {n}": 10 for n in range(3)} | {
        f"old {n}": 6 for n in range(5)
    }
    assert [name[:3] for name in seen[:4]] == ["new", "old", "new", "old"]


def test_a_run_gone_astray_is_noticed(tiny_image: Path, tmp_path: Path, said: list[ev.Event]) -> None:
    more = {"learning_rate": 10.0, "max_steps": 300, "max_grad_norm": 0, "lora_alpha": 4096, "save_steps": 1000}
    with pytest.raises(LabError, match="training has gone astray with learning_rate 10"):
        run(image_lora, tmp_path / "run", tiny_image, **more)


def test_a_dry_run_keeps_nothing(tiny_image: Path, tmp_path: Path, said: list[ev.Event]) -> None:
    run(image_lora, tmp_path / "run", tiny_image, dry_run=True)
    last = said[-1]
    assert isinstance(last, ev.Finished)
    assert last.values.keys() >= {"memory_gb", "seconds_per_step"}
    assert not (tmp_path / "run" / "adapter").exists()
