"""Scenes: what is kept from training, what is said of them, how they look."""

from __future__ import annotations

import random

import numpy

from backend.starter.pictures import captions
from backend.starter.pictures.captions import Scene
from backend.starter.pictures.emoji import Emoji

HEART, CAT = Emoji(("blue heart",), "heart", ""), Emoji(("smile cat", "smiling cat"), "cat-face", "")


def test_what_is_held_out_is_never_trained_on() -> None:
    dice = random.Random(0)
    kept = {captions.scene(1, dice) for _ in range(3000)}
    apart = set(captions.apart(1))
    assert not kept & apart
    assert apart
    assert all(one.colour or one.ground != captions.PAPER for one in apart)


def test_colours_of_ink_and_ground_differ() -> None:
    dice = random.Random(0)
    assert all(one.colour != one.ground for one in (captions.scene(0, dice) for _ in range(500)))


def test_what_has_a_colour_in_its_name_keeps_it() -> None:
    assert not captions.tintable(HEART)
    assert captions.tintable(CAT)
    dice = random.Random(0)
    assert {captions.scene(0, dice, tinted=False).colour for _ in range(300)} == {""}


def test_a_caption_says_the_scene() -> None:
    dice = random.Random(0)
    said = {captions.caption(Scene(0, "red", "blue"), [CAT], dice) for _ in range(50)}
    assert all("red" in text and "blue" in text and "cat" in text for text in said)
    assert {"smile" in text for text in said} == {True, False}
    assert captions.caption(Scene(0, "", "white"), [Emoji(("apple",), "", "")], random.Random(1)).count("a apple") == 0


def test_a_scene_has_the_colours_that_are_said() -> None:
    picture = numpy.zeros((64, 64, 4), numpy.uint8)
    picture[16:48, 16:48] = (150, 150, 150, 255)
    plain = captions.draw(picture, Scene(0, "", "blue"))
    assert plain[0, 0].tolist() == list(captions.COLOURS["blue"])
    assert plain[32, 32].tolist() == [150, 150, 150]
    red = captions.draw(picture, Scene(0, "red", "white"))[32, 32]
    assert red[0] > 2 * red[1]
    assert captions.draw(picture, Scene(0, "red", "white"))[0, 0].tolist() == [255, 255, 255]
