"""Pictures of tiny random pipelines: they mean nothing, but what changes them and what must not can be seen."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.image import SCHEDULERS, ImageParams
from backend.engines.image_engine import ImageEngine
from backend.engines.shelf import Shelf
from backend.errors import BadInput, LabError, NoRoom
from backend.recipes.params import check
from tests import tiny_images
from tests.tiny_families import FAMILIES, tiny_pixart

Draw = Callable[..., np.ndarray]
pytestmark = [  # of the schedulers, and of PEFT where a second adapter comes
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Adapter a1 was active:UserWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]


@pytest.fixture(scope="module")
def engine() -> ImageEngine:
    return ImageEngine(Shelf())


@pytest.fixture
def ask(engine: ImageEngine, tiny_image: Path, tmp_path: Path) -> Callable[..., Iterator[ev.Event]]:
    """The events of a request; what is left out is small."""

    def asked(**more: Any) -> Iterator[ev.Event]:
        given = {"prompt": "a red cat", "model": str(tiny_image), "steps": 3, "folder": str(tmp_path / "out")}
        return engine.stream(check(ImageParams, given | more))

    return asked


@pytest.fixture
def draw(ask: Callable[..., Iterator[ev.Event]]) -> Draw:
    """Pixels of the one picture of a request."""

    def drawn(**more: Any) -> np.ndarray:
        [file] = [one.file for one in ask(**more) if isinstance(one, ev.Produced) and one.kind == "picture"]
        return pixels(file)

    return drawn


@pytest.fixture(scope="session")
def lora(tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_images.tiny_lora(tmp_path_factory.mktemp("adapters") / "lora", tiny_image)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 40×24 pixels, red and blue."""
    file = tmp_path_factory.mktemp("photo") / "photo.png"
    image = Image.new("RGB", (40, 24), "red")
    image.paste("blue", (0, 0, 20, 24))
    image.save(file)
    return file


def pixels(file: str | Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(abs(one - other).mean())


def said(events: Iterator[ev.Event]) -> str:
    return " ".join(one.text for one in events if isinstance(one, ev.Logged))


def test_a_picture_is_what_the_pipeline_draws_and_carries_its_settings(ask: Any, tiny_image: Path) -> None:
    import torch
    from diffusers import StableDiffusionPipeline

    events = list(ask(seed=7, guidance=3, names={str(tiny_image): "models/tiny"}))
    started = next(one for one in events if isinstance(one, ev.Started))
    wanted = {"width": 32, "height": 32, "steps": 3, "guidance": 3, "device": "cpu", "dtype": "fp32"}
    assert started.info == wanted | {"model": "models/tiny"}
    assert [(one.done, one.total) for one in events if isinstance(one, ev.Progressed)] == [(1, 3), (2, 3), (3, 3)]
    picture = events[-2]
    assert isinstance(picture, ev.Produced)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_image)
    pipeline.set_progress_bar_config(disable=True)
    plain = pipeline(
        "a red cat", num_inference_steps=3, guidance_scale=3, generator=torch.Generator().manual_seed(7)
    ).images[0]
    assert apart(pixels(picture.file), np.asarray(plain).astype(int)) == 0
    with Image.open(picture.file) as image:
        assert json.loads(image.info["atelier"]) == picture.data
    assert (picture.data["seed"], picture.data["model"], picture.data["width"]) == (7, "models/tiny", 32)
    assert events[-1].values["pictures"] == 1


@pytest.mark.parametrize("scheduler", ["", *SCHEDULERS])
def test_the_same_seed_gives_the_same_picture(scheduler: str, draw: Draw) -> None:
    one = draw(scheduler=scheduler, seed=5)
    draw(scheduler="euler-a", seed=1)  # nothing of it is left
    assert apart(one, draw(scheduler=scheduler, seed=5)) == 0
    assert apart(one, draw(scheduler=scheduler, seed=6)) > 1


def test_each_of_several_pictures_can_be_drawn_alone(ask: Any, draw: Draw) -> None:
    made = [one for one in ask(count=3, seed=2**32 - 2) if isinstance(one, ev.Produced) and one.kind == "picture"]
    assert [one.data["seed"] for one in made] == [2**32 - 2, 2**32 - 1, 0]
    for one in made:
        assert apart(pixels(one.file), draw(seed=one.data["seed"])) == 0


def test_previews_come_to_look_like_the_picture(engine: ImageEngine, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.engines.latent_view.SHARE", 100)  # one after each step, whatever it costs
    events = list(ask(steps=8))
    seen = [one for one in events if isinstance(one, ev.Produced) and one.kind == "preview"]
    assert [one.step for one in seen] == list(range(1, 8))
    last = pixels(events[-2].file)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.data["png"])))).astype(int) for one in seen]
    assert apart(shown[-1], last) < apart(shown[0], last)


def test_closing_ends_it_within_a_step(engine: ImageEngine, ask: Any, draw: Draw) -> None:
    steps: list[int] = []
    draw()
    stream = ask(steps=100)
    for event in stream:
        if isinstance(event, ev.Progressed):
            steps.append(1)
            if len(steps) == 2:
                break
    unet = engine._loaded.pipeline.unet
    called = []
    hook = unet.register_forward_hook(lambda *_: called.append(1))
    stream.close()
    hook.remove()
    assert called == []
    assert draw().shape == (32, 32, 3)


def test_the_starter_is_got_ready_only_where_that_takes_nothing_from_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("backend.engines.image_engine.load", lambda name, *_: loaded.append(name))
    monkeypatch.setattr("backend.engines.image_engine.free_memory", lambda: 900_000_000)
    engine = ImageEngine(Shelf(), quicken=lambda *_: None)
    engine.warm()
    engine._loaded = other = SimpleNamespace(name="another")
    monkeypatch.setattr("backend.engines.image_engine.free_memory", lambda: 2_000_000_000)
    engine.warm()
    assert (loaded, engine._loaded) == ([], other)


@pytest.mark.long
def test_what_is_loaded_ahead_draws_at_once(tmp_path: Path) -> None:
    process = EngineProcess(os.environ, preload=False)
    try:
        *_, finished = process.load("", engine="image")
        assert isinstance(finished, ev.Finished)
        first, *_, last = process.stream("image", {"prompt": "a red cat", "folder": str(tmp_path)})
    finally:
        process.stop()
    assert isinstance(first, ev.Started), first
    assert isinstance(last, ev.Finished)


# -- adapters ---------------------------------------------------------------------------------------------------


def test_adapters_work_by_weight_together_and_never_leak(
    draw: Draw, lora: Path, tmp_path: Path, tiny_image: Path
) -> None:
    other = tiny_images.tiny_lora(tmp_path / "other", tiny_image, seed=1)
    plain = draw()
    worn = {name: [{"name": str(name), "weight": 1}] for name in (lora, other)}
    with_one, with_other = draw(adapters=worn[lora]), draw(adapters=worn[other])
    both = draw(adapters=worn[lora] + worn[other])
    assert (
        min(apart(plain, with_one), apart(with_one, with_other), apart(both, with_one), apart(both, with_other)) > 0.5
    )
    assert apart(draw(), plain) == 0
    assert apart(draw(adapters=worn[lora]), with_one) == 0
    assert 0 < apart(draw(adapters=[{"name": str(lora), "weight": 0.2}]), plain) < apart(with_one, plain)
    assert apart(draw(adapters=[{"name": str(lora), "weight": 0}]), plain) < 0.01
    assert apart(draw(), plain) == 0


def test_a_learned_word_is_read_only_by_who_asked_for_it(engine: ImageEngine, draw: Draw, tmp_path: Path) -> None:
    words = tiny_images.tiny_words(tmp_path / "words")
    plain = draw(prompt="a <thing>")
    ids = engine._loaded.pipeline.tokenizer("a <thing>")["input_ids"]
    taught = draw(prompt="a <thing>", adapters=[{"name": str(words)}])
    assert apart(plain, taught) > 0.5
    assert apart(draw(prompt="a <thing>"), plain) == 0
    assert engine._loaded.pipeline.tokenizer("a <thing>")["input_ids"] == ids
    assert apart(draw(prompt="a <thing>", adapters=[{"name": str(words)}]), taught) == 0


def test_an_adapter_of_another_architecture_is_refused(draw: Draw, tmp_path: Path, lora: Path) -> None:
    plain = draw()
    wide = tiny_images.tiny_pipeline(tmp_path / "wide", width=32)
    with pytest.raises(BadInput, match=r"does not fit .*other sizes"):
        draw(adapters=[{"name": str(lora)}, {"name": str(tiny_images.tiny_lora(tmp_path / "lora", wide))}])
    with pytest.raises(BadInput, match=r"does not fit"):
        draw(adapters=[{"name": str(tiny_images.tiny_words(tmp_path / "words", size=24))}])
    flux = _renamed(lora, tmp_path / "flux", "unet.", "transformer.")
    with pytest.raises(BadInput, match=r"does not fit .*its layers are others"):
        draw(adapters=[{"name": str(flux)}])
    deep = _renamed(lora, tmp_path / "deep", "down_blocks.0", "down_blocks.7")
    with pytest.raises(BadInput, match=r"does not fit"):
        draw(adapters=[{"name": str(deep)}])
    assert apart(draw(), plain) == 0


def _renamed(lora: Path, folder: Path, old: str, new: str) -> Path:
    from safetensors.torch import load_file, save_file

    folder.mkdir()
    file = "pytorch_lora_weights.safetensors"
    save_file({key.replace(old, new): one for key, one in load_file(lora / file).items()}, folder / file)
    return folder


def test_pickled_weights_are_refused(draw: Draw, tmp_path: Path, tiny_image: Path) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "pytorch_lora_weights.bin").write_bytes(b"x")
    (tmp_path / "one.ckpt").write_bytes(b"x")
    for name in ("lora", "one.ckpt"):
        with pytest.raises(BadInput, match="Pickled weights") as caught:
            draw(adapters=[{"name": str(tmp_path / name)}])
        assert caught.value.code == "model.pickle"
    with pytest.raises(BadInput, match="Pickled weights"):
        draw(model=str(tmp_path / "one.ckpt"))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "model_index.json").write_text((tiny_image / "model_index.json").read_text())
    with pytest.raises(BadInput, match="Pickled weights"):
        draw(model=str(tmp_path / "old"))


def test_a_prompt_is_encoded_once_but_anew_with_other_adapters(engine: ImageEngine, draw: Draw, lora: Path) -> None:
    draw(prompt="a blue dog")
    before = engine._loaded.encoded
    draw(prompt="a blue dog", seed=3)
    assert engine._loaded.encoded == before
    draw(prompt="a blue dog", adapters=[{"name": str(lora)}])
    draw(prompt="a blue dog", negative_prompt="moon")
    assert engine._loaded.encoded == before + 2


# -- pictures to begin from -------------------------------------------------------------------------------------


def test_a_picture_to_begin_from_is_kept_the_more_the_less_strength(draw: Draw, photo: Path) -> None:
    faint, strong = (draw(image=str(photo), strength=strength, steps=10) for strength in (0.1, 1.0))
    assert faint.shape == (24, 40, 3)  # its own size, which fits the grid
    assert apart(faint, strong) > 1
    assert draw(image=str(photo), enlarge=2).shape == (48, 80, 3)
    with pytest.raises(BadInput, match=r"leaves no step .* Use at least 0.34"):
        draw(image=str(photo), strength=0.1)


def test_what_a_mask_leaves_out_stays_as_it_was(draw: Draw, ask: Any, photo: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (40, 24), 0)
    mask.paste(255, (20, 0, 40, 24))
    mask.save(tmp_path / "mask.png")
    made, before = draw(image=str(photo), mask=str(tmp_path / "mask.png"), strength=1.0), pixels(photo)
    assert apart(made[:, :20], before[:, :20]) == 0
    assert apart(made[:, 20:], before[:, 20:]) > 1
    mask.resize((80, 48)).save(tmp_path / "large.png")
    assert "is scaled" in said(ask(image=str(photo), mask=str(tmp_path / "large.png")))
    mask.resize((40, 40)).save(tmp_path / "square.png")
    with pytest.raises(BadInput, match="another form"):
        draw(image=str(photo), mask=str(tmp_path / "square.png"))
    Image.new("L", (40, 24), 0).save(tmp_path / "black.png")
    with pytest.raises(BadInput, match="Nothing of the mask"):
        draw(image=str(photo), mask=str(tmp_path / "black.png"))


def test_a_mask_works_on_a_unet_that_the_pipelines_for_masks_refuse(draw: Draw, photo: Path, tmp_path: Path) -> None:
    model = tiny_images.tiny_pipeline(tmp_path / "wide", channels=8)
    mask = Image.new("L", (40, 24), 0)
    mask.paste(255, (20, 0, 40, 24))
    mask.save(tmp_path / "mask.png")
    made = draw(model=str(model), image=str(photo), mask=str(tmp_path / "mask.png"), strength=1.0)
    before = pixels(photo)
    assert apart(made[:, :20], before[:, :20]) == 0
    assert apart(made[:, 20:], before[:, 20:]) > 1


def test_a_control_net_leads_by_its_scale(draw: Draw, photo: Path, tmp_path: Path, tiny_image: Path) -> None:
    net = tiny_images.tiny_control(tmp_path / "control", tiny_image)
    plain = draw()
    led = {"control_model": str(net), "control_image": str(photo)}
    assert apart(draw(**led), plain) > 0.5
    assert apart(draw(**led, control_scale=0), plain) < 0.01
    assert draw(**led, image=str(photo), width=32, height=32).shape == (32, 32, 3)
    assert apart(draw(), plain) == 0
    other = tiny_images.tiny_control(tmp_path / "other", tiny_image, reads=24)
    with pytest.raises(BadInput, match="made for another family"):
        draw(control_model=str(other), control_image=str(photo))


# -- what can't be done -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"width": 30}, r"width is 30; .* multiples of 8 pixels. Use width 32."),
        ({"width": 45, "height": 3}, r"width is 45 and height is 3; .* Use width 48 and height 8."),
        (
            {"width": 256, "height": 128},
            r"is 32 times the 32 × 32 that .* Use at most 128 × 128",
        ),
        ({"width": 4096, "height": 4096}, r"more than 4,194,304 pixels"),
        ({"width": 5000}, r"width is 5000; use at most 4,096"),
        ({"steps": 0}, r"steps is 0; use at least 1"),
        ({"steps": 10_000}, r"steps is 10000; use at most 200"),
        ({"count": 100}, r"count is 100; use at most 8"),
        ({"adapters": [{"name": "a/b"}] * 6}, r"adapters has 6; use at most 5."),
        ({"prompt": "a" * 10_001}, r"prompt has 10,001 characters; use at most 10,000."),
        ({"prompt": "  "}, r"write what to draw"),
        ({"scheduler": "magic"}, r"use one of ddim"),
        ({"mask": "x.png"}, r"A mask was given without a picture"),
        ({"control_model": "a/b"}, r"go together"),
        ({"enlarge": 2}, r"needs a picture"),
        ({"model": "/nowhere"}, r"no folder"),
    ],
)
def test_what_is_wrong_is_said(asked: dict[str, Any], words: str, draw: Draw) -> None:
    with pytest.raises(Exception, match=words):
        draw(**asked)


def test_what_a_model_does_not_read_is_said(ask: Any) -> None:
    text = said(ask(prompt="a red cat on the moon, a photo of a smiling dog in a very strange street"))
    assert "this model reads 16; left out was: “" in text
    assert "strange street" in text
    assert "reads" not in said(ask(prompt="a red cat"))


def test_no_steps_are_the_models_own(ask: Any) -> None:
    started = next(one for one in ask(steps=None) if isinstance(one, ev.Started))
    assert (started.info["steps"], started.info["guidance"]) == (50, 7.5)  # those of StableDiffusionPipeline's call


def test_what_the_safety_checker_holds_back_is_said_and_not_shown(
    ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsafe = tiny_images.tiny_pipeline(tmp_path / "unsafe", safety=tiny_images.safety_checker())
    monkeypatch.setattr("backend.engines.latent_view.SHARE", 100)
    monkeypatch.setattr("backend.engines.latent_view._COARSE", 8)
    shown = []
    with pytest.raises(BadInput, match="held back") as caught:
        for one in ask(model=str(unsafe), count=2, width=64, height=64):
            if isinstance(one, ev.Produced):
                shown.append(one.data["png"])
    assert caught.value.code == "image.unsafe"
    assert [bool(png) for png in shown] == [True, True, False] * 2
    for png in filter(None, shown):  # colours, and no more
        assert max(Image.open(io.BytesIO(base64.b64decode(png))).size) == 8
    assert not list((tmp_path / "out").glob("*.png"))


def test_what_is_no_pipeline_is_refused(draw: Draw, tmp_path: Path, tiny_image: Path) -> None:
    with pytest.raises(BadInput, match=r"no model_index.json"):
        draw(model=str(tmp_path))
    index = json.loads((tiny_image / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"unet": ["my_code", "Net"]}))
    with pytest.raises(BadInput, match="brings its own code"):
        draw(model=str(tmp_path))


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(
    draw: Draw, tiny_image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("backend.engines.shelf.free_memory", lambda: 300_100_000)
    (tmp_path / "same").symlink_to(tiny_image)
    with pytest.raises(NoRoom, match="needs"):
        draw(model=str(tmp_path / "same"))


def test_a_checkpoint_in_one_file_draws_the_same_as_its_folder(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_images.tiny_pipeline(tmp_path / "folder", tiny_vae=False)
    file = tiny_images.one_file(tmp_path / "one.safetensors", folder)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LabError, match=r"one.safetensors holds .*stable-diffusion-v1-5, which can't be had") as caught:
        draw(model=str(file))
    assert "a folder 'one' beside the file" in caught.value.hint
    shutil.copytree(folder, tmp_path / "one", ignore=shutil.ignore_patterns("*.safetensors"))
    assert apart(draw(model=str(file)), draw(model=str(folder))) < 0.01


def test_what_of_a_file_is_wrong_is_said(draw: Draw, tmp_path: Path, tiny_image: Path, photo: Path, lora: Path) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"nonsense" * 9)
    with pytest.raises(BadInput, match=r"no.safetensors is no safetensors file, or only a part"):
        draw(model=str(tmp_path / "no.safetensors"))
    with pytest.raises(BadInput, match=r"is a LoRA adapter and no model"):
        draw(model=str(lora / "pytorch_lora_weights.safetensors"))
    for kept in (5000, -100):
        folder = tmp_path / f"cut{kept}"
        shutil.copytree(tiny_image, folder)
        [file] = (folder / "unet").glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(BadInput, match=r"diffusers can't load .*cut.* part of"):
            draw(model=str(folder))
    shutil.copytree(tiny_image, tmp_path / "half", ignore=shutil.ignore_patterns("unet"))
    with pytest.raises(BadInput, match=r"half lacks what its model_index.json names: unet"):
        draw(model=str(tmp_path / "half"))
    net = tiny_images.tiny_control(tmp_path / "control", tiny_image)
    flux = {"model": str(tiny_images.tiny_flux(tmp_path / "flux")), "width": 32, "height": 32}
    with pytest.raises(BadInput, match=r"is a ControlNetModel, and FluxPipeline takes a FluxControlNetModel"):
        draw(**flux, control_model=str(net), control_image=str(photo))


# -- other families ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embeds", [True, False])
def test_a_flow_matching_model_draws_with_its_own_guidance(
    embeds: bool, draw: Draw, ask: Any, tmp_path: Path, photo: Path
) -> None:
    flux = {"model": str(tiny_images.tiny_flux(tmp_path / "flux", embeds)), "width": 32, "height": 32}
    plain = draw(**flux, guidance=3)
    assert plain.shape == (32, 32, 3)
    assert apart(plain, draw(**flux, guidance=9)) > 0
    told = said(ask(**flux, guidance=3, negative_prompt="moon"))
    assert ("This model takes no negative prompt" in told) == embeds
    assert draw(**flux, image=str(photo)).shape == (32, 32, 3)
    for scheduler in ("euler", "lcm"):
        assert draw(**flux, scheduler=scheduler).shape == plain.shape
    with pytest.raises(BadInput, match="not for models of flow matching"):
        draw(**flux, scheduler="ddim")


@pytest.mark.long
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_draws_shows_begins_from_a_picture_and_wears_adapters(
    name: str, draw: Draw, ask: Any, tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.engines.latent_view.SHARE", 100)
    model = {"model": str(FAMILIES[name](tmp_path / name)), "width": 32, "height": 32}
    events = list(ask(**model, steps=4))
    assert [(one.done, one.total) for one in events if isinstance(one, ev.Progressed)] == [(n, 4) for n in range(1, 5)]
    assert [one.kind for one in events if isinstance(one, ev.Produced)] == ["preview"] * 3 + ["picture"]
    plain = draw(**model)
    assert plain.shape == (32, 32, 3)
    assert apart(draw(**model), plain) == 0
    assert apart(draw(**model, seed=1), plain) > 0.1
    assert apart(draw(**model, prompt="a blue dog on the moon", guidance=9), plain) > 0
    part = "transformer" if name != "sdxl" else "unet"
    if name in ("sdxl", "sd3"):
        assert draw(**model, image=str(photo), strength=0.7).shape == (32, 32, 3)
    else:
        with pytest.raises(BadInput, match=r"diffusers has none of its kind that can begin from a picture"):
            draw(**model, image=str(photo))
    if name == "pixart":
        return  # diffusers puts no LoRA on it
    adapter = tiny_images.tiny_lora(tmp_path / "lora", tmp_path / name, part=part)
    assert apart(draw(**model, adapters=[{"name": str(adapter), "weight": 1}]), plain) > 0.1
    assert apart(draw(**model), plain) == 0


@pytest.mark.long
def test_a_pipeline_that_does_not_call_back_ends_within_a_step(ask: Any, engine: ImageEngine, tmp_path: Path) -> None:
    stream = ask(model=str(tiny_pixart(tmp_path / "pixart")), width=32, height=32, steps=50)
    for event in stream:
        if isinstance(event, ev.Progressed) and event.done == 2:
            break
    called = []
    hook = engine._loaded.pipeline.transformer.register_forward_hook(lambda *_: called.append(1))
    stream.close()
    hook.remove()
    assert called == []
