"""A tiny model, for all tests of recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import tiny_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model."""
    return tiny_model(tmp_path_factory.mktemp("tiny"))
