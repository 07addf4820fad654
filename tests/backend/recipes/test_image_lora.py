"""What an image LoRA leaves behind is diffusers' own, and draws otherwise than its base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from PIL import ImageChops

from backend.errors import BadInput
from backend.recipes import image_lora
from backend.recipes.params import check
from tests.tiny_images import tiny_pipeline, tiny_sd3, tiny_xl

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"max_steps": 3, "num_validation_images": 0, "per_device_train_batch_size": 2, "learning_rate": 0.1}


def run(folder: Path, model: Path, **more: Any) -> Path:
    folder.mkdir()
    image_lora.run(check(image_lora.Params, {"model": str(model), **QUICK, **more}), folder)
    return folder / "adapter"


def drawn(pipeline: Any) -> Any:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    dice = torch.Generator().manual_seed(0)
    return pipeline("a red cat", num_inference_steps=2, height=32, width=32, generator=dice).images[0]


@pytest.fixture(scope="module")
def taught(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("lora") / "run", tiny_image)


def test_diffusers_loads_it_and_draws_otherwise(taught: Path, tiny_image: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_image)
    before = drawn(pipeline)
    pipeline.load_lora_weights(taught)
    assert ImageChops.difference(before, drawn(pipeline)).getbbox() is not None
    assert next(iter(pipeline.unet.peft_config.values())).lora_alpha == 8
    pipeline.unload_lora_weights()
    assert drawn(pipeline).tobytes() == before.tobytes()


def test_it_goes_on_from_an_earlier_one(taught: Path, tiny_image: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    again = run(tmp_path / "run", tiny_image, start_from=str(taught), max_steps=1, learning_rate=1e-9, weight_decay=0)
    before, after = (load_file(place / image_lora.WEIGHTS) for place in (taught, again))
    assert before.keys() == after.keys()
    assert all((before[name] - after[name]).abs().max() < 1e-6 for name in before)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"lora_r": 4}, "lora_r is 4, and the adapter to start from has rank 8"), ({}, "made for another architecture")],
)
def test_an_adapter_that_does_not_fit(
    more: dict[str, Any], words: str, taught: Path, tiny_image: Path, tmp_path: Path
) -> None:
    model = tiny_image
    if not more:
        model = tiny_pipeline(tmp_path / "wide", width=32)
        place = tmp_path / "alone"
        place.mkdir()
        (place / image_lora.WEIGHTS).write_bytes((taught / image_lora.WEIGHTS).read_bytes())
        taught = place
    with pytest.raises(BadInput, match=words):
        run(tmp_path / "run", model, start_from=str(taught), **more)


def test_an_adapter_of_another_base_is_refused_at_once(taught: Path) -> None:
    params = check(image_lora.Params, {"model": "someone/else", "start_from": str(taught)})
    with pytest.raises(BadInput, match="The adapter to start from belongs to"):
        image_lora.preflight(params)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lora_r": 0}, "lora_r is 0; use at least 1."),
        ({"max_steps": 0}, "max_steps is 0; use at least 1."),
        ({"instance_prompt": "", "lora_r": "x"}, "lora_r is 'x'; it must be a whole number such as 8."),
        ({"per_device_train_batch_size": True}, "true and false are not numbers"),
        ({"rank": 4}, "There is no setting 'rank'"),
    ],
)
def test_what_is_wrong_with_a_setting(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as error:
        check(image_lora.Params, values)
    assert words in str(error.value)


def test_layers_that_are_not_there(tiny_image: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="target_modules is 'nothing'"):
        run(tmp_path / "run", tiny_image, target_modules="nothing")


def test_the_class_is_kept_with_drawn_pictures(tiny_image: Path, tmp_path: Path) -> None:
    more = {"with_prior_preservation": True, "class_prompt": "a cat", "num_class_images": 2, "validation_steps": 1}
    run(tmp_path / "run", tiny_image, **more)
    assert len(list((tmp_path / "run" / image_lora.CLASS_PICTURES).glob("*.png"))) == 2


def test_the_rate_suits_the_model() -> None:
    assert check(image_lora.Params, {}).learning_rate == 1e-3
    assert check(image_lora.Params, {"model": "someone/large"}).learning_rate == 1e-4


def test_what_is_left_out_suits_the_model() -> None:
    mine, other = check(image_lora.Params, {}), check(image_lora.Params, {"model": "someone/large"})
    assert (mine.keeps, other.keeps) == (True, False)
    assert "conv1" in mine.target_modules
    assert other.target_modules == image_lora.ATTENTION
    assert len(set(mine.kept)) == mine.num_class_images
    kept = check(image_lora.Params, {"model": "someone/large", "with_prior_preservation": True, "class_prompt": "a|b "})
    assert (kept.keeps, kept.kept) == (True, ["a", "b"])
    with pytest.raises(BadInput, match="class_prompt is empty, so nothing says what is kept"):
        image_lora.preflight(check(image_lora.Params, {"model": "someone/large", "with_prior_preservation": "on"}))


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [tiny_pipeline, tiny_xl, tiny_sd3])
def test_every_family_learns_with_all_that_a_gpu_switches_on(
    make: Callable[[Path], Path], precision: str, tmp_path: Path
) -> None:
    model = make(tmp_path / "model")
    kept = {"with_prior_preservation": True, "class_prompt": "a cat | a dog", "num_class_images": 2}
    more = {"gradient_checkpointing": "on", "precision": precision, "train_text_encoder": True}
    run(tmp_path / "run", model, **kept, **more, num_validation_images=1, validation_steps=2)
    assert len(list((tmp_path / "run/class").glob("*.png"))) == 2
    assert len(list((tmp_path / "run/samples/step-3").glob("*.png"))) == 2
    pipeline = DiffusionPipeline.from_pretrained(model)
    before = drawn(pipeline)
    pipeline.load_lora_weights(tmp_path / "run/adapter")
    parts = {name for name in ("unet", "transformer", "text_encoder", "text_encoder_2") if hasattr(pipeline, name)}
    assert pipeline.get_list_adapters().keys() == parts
    assert ImageChops.difference(before, drawn(pipeline)).getbbox() is not None
