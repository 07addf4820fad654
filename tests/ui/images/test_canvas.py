"""Larger canvases, masks and sheets, pixel by pixel."""

from __future__ import annotations

import pytest
from PIL import Image

from backend.errors import BadInput
from ui.images.canvas import alike, extended, painted, roomy, sheet


def halves() -> Image.Image:
    """32 × 16, left red, right blue."""
    image = Image.new("RGB", (32, 16), "blue")
    image.paste("red", (0, 0, 16, 16))
    return image


def test_the_picture_stays_in_its_place_and_the_rest_is_to_be_drawn() -> None:
    image, mask = extended(halves(), (8, 0, 16, 4))
    assert image.size == mask.size == (32 + 24, 16 + 4)
    assert image.crop((8, 0, 40, 16)).tobytes() == halves().tobytes()
    assert mask.getpixel((0, 0)) == mask.getpixel((55, 19)) == 255
    assert mask.getpixel((24, 8)) == 0


def test_new_ground_goes_on_as_the_edge_does() -> None:
    image, _ = extended(halves(), (8, 8, 8, 8))
    assert image.getpixel((0, 0)) == image.getpixel((0, 31)) == (255, 0, 0)
    assert image.getpixel((47, 0)) == (0, 0, 255)


def test_the_seam_is_drawn_anew_only_beside_new_ground() -> None:
    _, mask = extended(halves(), (8, 0, 0, 0))
    assert [mask.getpixel((x, 8)) for x in (7, 8, 9, 10, 39)] == [255, 255, 255, 0, 0]
    assert mask.getpixel((20, 0)) == mask.getpixel((20, 15)) == 0


def test_sides_that_make_no_canvas_are_refused() -> None:
    with pytest.raises(BadInput, match="top is -1"):
        extended(halves(), (0, -1, 0, 0))
    with pytest.raises(BadInput, match="4129 × 16"):
        extended(halves(), (4097, 0, 0, 0))


def test_what_was_painted_on_any_layer_is_the_mask_at_the_pictures_own_size() -> None:
    one, other = (Image.new("RGBA", (320, 160)) for _ in range(2))
    one.paste((20, 184, 166, 255), (0, 0, 160, 80))
    other.paste((20, 184, 166, 255), (300, 140, 320, 160))
    mask = painted([one, other], (32, 16))
    assert mask is not None
    assert (mask.size, mask.mode) == ((32, 16), "L")
    assert [mask.getpixel(at) for at in ((2, 2), (31, 15), (20, 12))] == [255, 255, 0]
    assert painted([Image.new("RGBA", (320, 160))], (32, 16)) is None
    assert painted([], (32, 16)) is None


def test_a_small_picture_gets_room_to_paint_on() -> None:
    assert roomy(halves()).size == (512, 256)
    assert roomy(Image.new("RGB", (900, 600))).size == (900, 600)


def test_two_pictures_of_a_slider_have_one_size_and_keep_their_sides() -> None:
    left, right = alike(halves(), Image.new("RGB", (900, 600), "green"))
    assert left.size == right.size == (900, 600)
    assert left.getpixel((10, 10)) == (255, 0, 0)
    assert right.getpixel((10, 10)) == (0, 128, 0)
    assert alike(halves(), halves())[0].size == (512, 256)


def test_a_sheet_has_each_picture_in_its_cell_and_room_for_heads() -> None:
    red, blue = (Image.new("RGB", (100, 100), one) for one in ("red", "blue"))
    whole = sheet([[red, blue], [blue, None]], ["one", "two"], ["a", "b"])
    cell = 108
    left, top = whole.width - 2 * cell, whole.height - 2 * cell
    assert left > 0
    assert top > 0
    middles = [(left + cell * x + 50, top + cell * y + 50) for y in (0, 1) for x in (0, 1)]
    assert [whole.getpixel(at) for at in middles] == [(255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 255, 255)]
    ink = whole.crop((left, 0, whole.width, top)).getcolors(10_000) or []
    assert any(colour == (0, 0, 0) for _, colour in ink)


def test_a_sheet_without_heads_is_pictures_alone() -> None:
    assert sheet([[Image.new("RGB", (100, 100))]], [""], [""]).size == (108, 108)


def test_a_column_of_a_sheet_is_as_wide_as_its_head() -> None:
    square = Image.new("RGB", (96, 96))
    narrow, wide = (sheet([[square]], [head], [""]).width for head in ("dpm++", "Scheduler: dpm++"))
    assert narrow == 104
    assert 120 < wide < 250
    assert sheet([[square]], ["long " * 100], [""]).width <= 250
