"""Pictures of every kind, and what is said of each."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from backend.errors import BadData, BadInput
from backend.recipes import image_data
from backend.recipes.image_lora import Params
from backend.recipes.params import check
from backend.starter import SAMPLES

Given = dict[str, Image.Image | bytes]


def picture(side: int = 64, colour: str = "red", mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (side, side), colour)
    ImageDraw.Draw(image).ellipse([side // 4, side // 4, side // 2, side // 2], fill="white")
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Given], Path]:
    def make(files: Given) -> Path:
        place = tmp_path / "pictures.zip"
        with zipfile.ZipFile(place, "w") as out:
            for name, one in files.items():
                out.writestr(name, one if isinstance(one, bytes) else encoded(one))
        return place

    return make


def params(dataset: Path | str, **more: Any) -> Params:
    return check(Params, {"dataset": str(dataset), **more})


def test_the_sample_is_read_with_its_captions(tmp_path: Path) -> None:
    pictures, report = image_data.read(params("sample/mascot", caption_column="text"), tmp_path, 64)
    assert (len(pictures), report.good, report.plain()["wrong"]) == (10, 10, [])
    assert {one.image.size for one in pictures} == {(64, 64)}
    assert pictures[0].caption == "a sks figure on white"


def test_every_kind_of_picture_is_named(zipped: Callable[[Given], Path], tmp_path: Path) -> None:
    frames = [picture(colour=one) for one in ("red", "blue")]
    deep = Image.new("I;16", (64, 64), 40_000)
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    files: Given = {
        "a.png": picture(),
        "b-broken.png": encoded(picture())[:60],
        "c-tiny.png": picture(8),
        "d-cmyk.jpg": encoded(picture(colour="green", mode="CMYK"), "JPEG"),
        "e-deep.png": deep,
        "f-moves.gif": encoded(frames[1], "GIF", save_all=True, append_images=frames[:1]),
        "g-clear.png": clear,
        "h-again.png": picture(),
        "i-no-picture.png": b"words",
    }
    found = image_data.look(str(zipped(files)), tmp_path, bad_rows="drop")
    report = found["report"]
    assert {one["rule"]: one["rows"] for one in report["wrong"]} == {"it can't be opened": [2], "it is too small": [3]}
    said = {one["rule"].split(",")[0]: one["rows"] for one in report["changed"]}
    assert said == {"in CMYK": [4], "in 16 bits": [5], "animated": [6], "transparent": [7]}
    assert report["twice"]["rows"] == [8]
    assert any("i-no-picture.png is left out" in note for note in found["notes"])
    assert len(found["thumbs"]) == 6
    assert found["problem"] is None
    pictures, _ = image_data.read(params(tmp_path / "pictures.zip", bad_rows="drop", same_rows="drop"), tmp_path, 64)
    assert [one.image.getpixel((0, 0)) for one in pictures][2] == (156, 156, 156)  # 40,000 of 65,535
    assert pictures[4].image.getpixel((0, 0)) == (255, 255, 255)
    assert len(pictures) == 5


def test_a_huge_picture_is_not_opened(zipped: Callable[[Given], Path], tmp_path: Path) -> None:
    huge = encoded(Image.new("1", (9000, 9000)))
    found = image_data.look(str(zipped({"a.png": picture(), "b.png": huge})), tmp_path)
    assert found["problem"]["message"].startswith(
        "1 of 2 pictures can't be used. Picture 2, b.png: it has 9000×9000 pixels;"
    )


@pytest.mark.parametrize(
    ("more", "code"), [({}, "data.wrong"), ({"bad_rows": "drop", "same_rows": "stop"}, "data.twice")]
)
def test_what_stops_a_run(more: dict[str, str], code: str, zipped: Callable[[Given], Path], tmp_path: Path) -> None:
    place = zipped({"a.png": picture(), "b.png": picture(), "c.png": encoded(picture())[:60]})
    with pytest.raises(BadData) as error:
        image_data.read(params(place, **more), tmp_path, 64)
    assert error.value.code == code


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"'instructions.jsonl' has no pictures"):
        image_data.read(params(SAMPLES["sample/instructions"]), tmp_path, 64)


def test_a_caption_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="caption_column is 'words'; the columns with text are file_name, text"):
        image_data.read(params("sample/mascot", caption_column="words"), tmp_path, 64)


def test_how_many_is_told() -> None:
    assert "that picture and no more" in image_data.number(1)[0]
    assert image_data.number(10) == []
    assert "1,200 pictures: every one is read" in image_data.number(1200)[0]


def test_uploads_become_one_zip(tmp_path: Path) -> None:
    files = []
    for folder, colour in (("one", "red"), ("two", "blue")):
        (tmp_path / folder).mkdir()
        picture(colour=colour).save(tmp_path / folder / "a.png")
        files.append(tmp_path / folder / "a.png")
    place = image_data.packed(files, tmp_path / "made.zip")
    assert zipfile.ZipFile(place).namelist() == ["a.png", "a-1.png"]
    assert image_data.packed([place], tmp_path / "again.zip") == place
    assert image_data.look(str(place), tmp_path)["total"] == 2


def test_what_fits(tmp_path: Path) -> None:
    assert image_data.fits("sample/mascot")
    assert not image_data.fits("sample/instructions")
    picture().save(tmp_path / "a.png")
    assert image_data.fits(str(tmp_path))
