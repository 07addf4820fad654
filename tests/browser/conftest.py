"""All that the browser tests share beside tests/conftest.py: how long they wait for what should soon be seen, and that
one is run again when it fails; the first failure is listed as RERUN.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

PATIENCE = 60_000  # ms; the page shares its cores with an engine that loads, or a run that trains


@pytest.fixture(scope="session", autouse=True)
def patience() -> None:
    """What a test expects to see may come late on a busy machine; what it says of speed it measures itself."""
    expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))
