"""Pictures varied by colour and background, and the words that say so."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.starter.pictures.emoji import Emoji

if TYPE_CHECKING:
    import numpy

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 50),
    "green": (50, 165, 75),
    "blue": (50, 105, 225),
    "purple": (140, 65, 190),
    "pink": (245, 130, 180),
    "brown": (130, 85, 50),
    "gray": (140, 140, 140),
    "black": (30, 30, 30),
    "white": (255, 255, 255),
}
PAPER = "white"
TINTS = [name for name in COLOURS if name != "white"]
_PLAIN = ("{name}", "a {name}", "{name} emoji", "a picture of a {name}")
_ON = ("{name} on {ground}", "a {name} on {ground}", "{name}, {ground} background", "a {name} on a {ground} background")
_TINTED = ("{colour} {name}", "{name}, {colour}", "a {colour} {name}")
_BOTH = ("{name}, {colour}, on {ground}", "{colour} {name} on {ground}", "a {colour} {name} on a {ground} background")
_HELD_OUT = 20  # one of so many combinations of emoji, colour and ground is never trained on


@dataclass(frozen=True)
class Scene:
    """What a picture shows: which emoji, in which colour ('' is its own), on which ground."""

    emoji: int
    colour: str
    ground: str


def held_out(scene: Scene) -> bool:
    """Whether the scene is kept from training. An emoji in its own colours on white never is."""
    if not scene.colour and scene.ground == PAPER:
        return False
    key = f"{scene.emoji}/{scene.colour}/{scene.ground}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big") % _HELD_OUT == 0


def scene(emoji: int, dice: random.Random, tinted: bool = True) -> Scene:
    """A random scene with the emoji to train on. What has a colour in its name is not `tinted`."""
    while True:
        kind = dice.random() if tinted else 0.3 + 0.35 * dice.random()
        colour = dice.choice(TINTS) if kind > 0.65 else ""
        grounds = [name for name in COLOURS if name not in (PAPER, colour)]
        ground = dice.choice(grounds) if 0.4 < kind < 0.65 or kind > 0.82 else PAPER
        found = Scene(emoji, colour, ground)
        if not held_out(found):
            return found


def apart(emoji: int) -> list[Scene]:
    """All scenes with the emoji that are held out; perhaps there are none."""
    every = (Scene(emoji, colour, ground) for colour in ("", *TINTS) for ground in COLOURS if ground != colour)
    return [one for one in every if held_out(one)]


def tintable(one: Emoji) -> bool:
    """Whether no name of it tells a colour."""
    return not any(word in COLOURS or word == "grey" for name in one.names for word in name.split())


def caption(shown: Scene, emojis: list[Emoji], dice: random.Random) -> str:
    """One of the ways to say it."""
    one = emojis[shown.emoji]
    name = one.names[0] if dice.random() < 0.5 else dice.choice(one.names)
    ways: tuple[str, ...] = _PLAIN
    if shown.colour:
        ways = _TINTED if shown.ground == PAPER else _BOTH
    elif shown.ground != PAPER:
        ways = _ON
    text = dice.choice(ways).format(name=name, colour=shown.colour, ground=shown.ground)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def draw(picture: numpy.ndarray, shown: Scene) -> numpy.ndarray:
    """The scene as [64, 64, 3] of bytes; `picture` is [64, 64, 4]."""
    import numpy

    ink = picture[..., :3].astype(numpy.float32)
    if shown.colour:
        ink = _tint(ink, numpy.array(COLOURS[shown.colour], numpy.float32))
    opaque = picture[..., 3:].astype(numpy.float32) / 255
    ground = numpy.array(COLOURS[shown.ground], numpy.float32)
    mixed: numpy.ndarray = (ink * opaque + ground * (1 - opaque)).round().astype(numpy.uint8)
    return mixed


def _tint(ink: numpy.ndarray, colour: numpy.ndarray) -> numpy.ndarray:
    """Shades of one colour: what was dark stays darker, what was light a little lighter."""
    import numpy

    light = (ink @ numpy.array([0.299, 0.587, 0.114], numpy.float32) / 255)[..., None]
    dark = colour * (0.3 + 0.7 * numpy.clip(light / 0.6, 0, 1))
    bright: numpy.ndarray = numpy.clip((light - 0.6) / 0.4, 0, 1) * 0.45
    tinted: numpy.ndarray = dark + (255 - dark) * bright
    return tinted
