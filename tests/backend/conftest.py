"""A Lab with the pretend target and no engine, and a run launched there."""

import pytest

from backend.engines.client import EngineProcess
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake


@pytest.fixture
def fake():
    return Fake()


@pytest.fixture
def lab(home, fake):
    settings = Settings.read({"ATELIER_HOME": str(home)})
    return Lab(settings, Store(home), (fake,), EngineProcess(env={}))


@pytest.fixture
def launch(lab):
    """`launch(owner="ann", **params)` launches a run of `sft`."""

    def launched(owner="ann", **params):
        return lab.launch("sft", params, owner, "fake")

    return launched
