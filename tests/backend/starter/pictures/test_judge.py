"""The judge agrees with what is really there, and not with anything else."""

from __future__ import annotations

import random

import numpy
import pytest

from backend.starter.pictures import captions, judge
from backend.starter.pictures.captions import COLOURS, Scene
from backend.starter.pictures.emoji import Emoji

GROUNDS = sorted(COLOURS)


def scene_of(colour: str, ground: str) -> numpy.ndarray:
    picture = numpy.zeros((64, 64, 4), numpy.uint8)
    picture[12:52, 12:52] = (120, 120, 120, 255)
    picture[20:30, 20:30] = (10, 10, 10, 255)
    return captions.draw(picture, Scene(0, colour, ground))


@pytest.mark.parametrize("ground", GROUNDS)
def test_the_colours_that_were_asked_for_are_found(ground: str) -> None:
    for colour in COLOURS:
        if colour not in (ground, "white"):
            right = judge.colour_right(scene_of(colour, ground), Scene(0, colour, ground))
            assert right == {"ground": True, "ink": True}, (colour, ground)


def test_other_colours_are_wrong() -> None:
    shown = scene_of("red", "blue")
    assert judge.colour_right(shown, Scene(0, "green", "blue")) == {"ground": True, "ink": False}
    assert judge.colour_right(shown, Scene(0, "red", "white"))["ground"] is False
    blank = numpy.full((64, 64, 3), 255, numpy.uint8)
    assert judge.colour_right(blank, Scene(0, "red", "white")) == {"ground": True, "ink": False}


def test_all_that_is_asked_is_held_out() -> None:
    emojis = [Emoji((name,), "", "") for name in ("cat", "blue heart", "rocket")]
    asked = judge.asked(emojis, 60)
    assert all(captions.held_out(scene) for scene, _ in asked)
    assert all(any(name in text for name in emojis[scene.emoji].names) for scene, text in asked)
    assert not any(scene.emoji == 1 for scene, _ in asked)


def test_agreement_counts_the_first_and_the_first_five() -> None:
    import torch

    emojis = [Emoji((str(n),), "even" if n % 2 == 0 else "odd", "") for n in range(8)]
    scenes = [Scene(random.Random(n).randrange(8), "", "white") for n in range(10)]

    def always_three(images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.0, 1, 2, 9, 4, 5, 0, 0]]).expand(len(images), 8)

    found = judge.agreement(always_three, numpy.zeros((10, 64, 64, 3), numpy.uint8), scenes, emojis)
    assert found["emoji"] == sum(one.emoji == 3 for one in scenes) / 10
    assert found["five"] == sum(one.emoji in (1, 2, 3, 4, 5) for one in scenes) / 10
    assert found["group"] == sum(one.emoji % 2 == 1 for one in scenes) / 10
