"""The Hub of this machine, a Lab that talks to it as Ann, and a cache of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.lab import Lab
from tests import localhub
from tests.localhub import ANN, Hub, here
from tests.ui.scripted import lab as scripted

WHO = "visitor-ann"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with localhub.serving() as found:
        yield found


@pytest.fixture
def lab_of(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    """`lab_of()` acts as Ann, `lab_of(token="")` as nobody; other words are settings."""
    from huggingface_hub import constants

    here(monkeypatch, hub.url)
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    labs: list[Lab] = []

    def make(token: str = ANN, **more: str) -> Lab:
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        else:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        env = {"ATELIER_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache)}
        labs.append(scripted(**env, HF_HUB_DISABLE_XET="1", **({"HF_TOKEN": token} if token else {}), **more))
        return labs[-1]

    yield make
    for one in labs:
        one.close()
