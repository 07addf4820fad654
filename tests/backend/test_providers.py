"""A token that is lent to one run: it needs one, gets it by its environment alone, and nothing keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadInput, Gated
from backend.jobs import Run
from backend.lab import Lab
from backend.providers import providers
from backend.recipes import RECIPES
from backend.settings import LENT_TOKEN
from tests.ui.scripted import lab as scripted

MODEL, TOKEN = "org/big:fast", "hf_of_ann_for_this_test"


class Here:
    """A target that gives runs what they were granted."""

    name = "fake"

    def __init__(self) -> None:
        self.granted: Any = None

    def start(self, run: Run) -> None:
        """It waits for ever."""

    def alive(self, run: Run) -> bool:
        return False

    def ahead(self, run: Run) -> int | None:
        return 0


@pytest.fixture
def lab(home: Path) -> Lab:
    found = scripted(ATELIER_HOME=str(home))
    found.token = lambda owner: TOKEN if owner == "ann" else ""
    return found


def test_who_is_named() -> None:
    names = RECIPES["evaluate"].names
    assert list(providers({"models": ["a/b", MODEL], "dataset": "x/y:z"}, names)) == [MODEL]
    assert list(providers({"answers": "run/ab12", "judge": MODEL}, RECIPES["judge"].names)) == [MODEL]


def test_a_run_gets_its_owners_token_and_no_file_does(lab: Lab) -> None:
    lab.targets = {"fake": Here()}  # type: ignore[dict-item]
    run = lab.launch("evaluate", {"models": [MODEL], "max_rows": 2}, "ann", "fake")
    assert lab._granted(run) == {LENT_TOKEN: TOKEN}
    plain = lab.launch("evaluate", {"max_rows": 2}, "ann", "fake")
    assert lab._granted(plain) == {}
    lab.token = lambda owner: ""  # signed out since
    assert lab._granted(run) == {}
    for path in lab.settings.home.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    assert json.loads((run.folder / "params.json").read_text())["models"] == [MODEL]


def test_it_is_said_before_the_run(lab: Lab) -> None:
    with pytest.raises(BadInput, match="which fake can't ask"):
        lab.launch("evaluate", {"models": [MODEL]}, "ann", "fake")
    lab.targets = {"fake": Here()}  # type: ignore[dict-item]
    with pytest.raises(Gated, match="on your own account"):
        lab.launch("evaluate", {"models": [MODEL]}, "bob", "fake")
    assert lab.runs("bob") == []
