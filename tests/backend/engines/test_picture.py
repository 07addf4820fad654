"""Picture files that cameras, programs and accidents make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.engines.picture import metadata, opened, settings_of, write
from backend.errors import BadInput, NotFound

SETTINGS = {
    "prompt": "a cat,\nsmiling: “yes”", "negative_prompt": "dogs, moons", "steps": 20, "guidance": 6.5,
    "seed": 4294967295, "width": 512, "height": 768, "scheduler": "dpm++", "model": "me/my, model",
    "adapters": [{"name": "a/b", "weight": 0.5}],
}  # fmt: skip
LINES = (
    "masterpiece, a cat (smiling:1.2)\non two lines <lora:x:0.8>\nNegative prompt: dog, blurry\nover two lines\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 123456, Size: 640x960, Model hash: ab12, "
    'Model: v1-5, Denoising strength: 0.4, ADetailer prompt: "a, b: c", Version: v1.9'
)
READ = {
    "prompt": "masterpiece, a cat (smiling:1.2)\non two lines <lora:x:0.8>",
    "negative_prompt": "dog, blurry\nover two lines", "steps": 28, "guidance": 7.5, "seed": 123456, "width": 640,
    "height": 960, "strength": 0.4, "scheduler": "dpm++",
}  # fmt: skip


def save(file: Path, **texts: str) -> str:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    return str(file)


def test_a_picture_of_ours_gives_its_settings_back(tmp_path: Path) -> None:
    file = write(Image.new("RGB", (8, 8)), tmp_path / "one.png", metadata(SETTINGS))
    assert settings_of(str(file)) == SETTINGS
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_other_programs_can_read_ours(tmp_path: Path) -> None:
    theirs = save(tmp_path / "lines.png", parameters=metadata(SETTINGS)["parameters"])
    names = ("prompt", "negative_prompt", "steps", "guidance", "seed", "width", "height", "scheduler")
    assert settings_of(theirs) == {name: SETTINGS[name] for name in names}


def test_settings_of_the_web_ui_in_a_png_and_a_jpeg(tmp_path: Path) -> None:
    assert settings_of(save(tmp_path / "one.png", parameters=LINES)) == READ
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + LINES.encode("utf-16-be")
    image.save(tmp_path / "one.jpg", exif=exif)
    assert settings_of(str(tmp_path / "one.jpg")) == READ
    assert settings_of(save(tmp_path / "bare.png", parameters="only a prompt")) == {
        "prompt": "only a prompt",
        "negative_prompt": "",
    }


@pytest.mark.parametrize(
    "theirs",
    [
        {"positive_prompt": "a cat", "negative_prompt": "", "seed": 5, "steps": 30, "cfg_scale": 7.5, "width": 512,
         "height": 640, "scheduler": "euler_a", "model": {"name": "sd-1"}},
        {"image": {"prompt": [{"prompt": "a cat", "weight": 1}], "seed": 5, "steps": 30, "cfg_scale": 7.5,
                   "width": 512, "height": 640, "sampler": "k_euler_a"}},
    ],
)  # fmt: skip
def test_settings_of_invoke_ai(theirs: dict[str, Any], tmp_path: Path) -> None:
    wanted = {"prompt": "a cat", "seed": 5, "steps": 30, "guidance": 7.5, "width": 512, "height": 640}
    assert settings_of(save(tmp_path / "one.png", invokeai_metadata=json.dumps(theirs))) == wanted | {
        "scheduler": "euler-a"
    }


@pytest.mark.parametrize("texts", [{}, {"atelier": "{"}, {"invokeai_metadata": "[1]"}, {"parameters": " "}])
def test_a_picture_without_settings_says_so(texts: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="carries no settings"):
        settings_of(save(tmp_path / "one.png", **texts))


def test_every_kind_of_picture_is_opened_in_eight_bits(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    deep = np.asarray(opened(str(tmp_path / "deep.png"))).astype(int)
    assert deep.shape == (8, 8, 3)
    assert abs(deep[..., 0] - grey / 257).max() <= 1
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red = np.asarray(opened(str(tmp_path / "print.jpg")))[0, 0].astype(int)
    assert red[0] > 150 > red[1]
    frames = [Image.new("P", (8, 8), 1), Image.new("P", (8, 8), 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert opened(str(tmp_path / "moving.gif")).getpixel((0, 0)) == (255, 0, 0)  # the first
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert opened(str(tmp_path / "clear.png")).getpixel((0, 0)) == (255, 255, 255)
    turned = Image.new("RGB", (8, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert opened(str(tmp_path / "turned.jpg"), "L").size == (4, 8)


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.png", "text.png"):
        with pytest.raises(BadInput, match=f"{name} is not a picture"):
            opened(str(tmp_path / name))
    with pytest.raises(NotFound):
        opened(str(tmp_path / "none.png"))
    Image.new("1", (8000, 7000)).save(tmp_path / "huge.png")
    with pytest.raises(BadInput, match="8000 × 7000; at most 50 million"):
        opened(str(tmp_path / "huge.png"))
