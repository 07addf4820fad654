"""Rented hardware before a run: prices for those who could pay, the most it costs, a time that may be too short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.errors import BadInput, NotYours
from backend.lab import Lab
from backend.targets.hf_jobs import HfJobs
from tests.backend.hub.conftest import WHO
from tests.localhub import ANN, BOB, Hub
from tests.localjobs import Jobs


@pytest.fixture
def lab(hub: Hub, lab_of: Callable[..., Lab], tmp_path: Path) -> Lab:
    Jobs(hub, tmp_path / "there")
    one = lab_of()
    jobs = HfJobs(one.settings.home, {})
    jobs.token = lambda owner: one.token(owner)
    one.targets = {**one.targets, "hf_jobs": jobs}
    return one


def test_hardware_is_shown_to_those_who_are_signed_in(lab: Lab) -> None:
    assert [one["flavor"] for one in lab.hub.rented.hardware(WHO)] == ["cpu-basic", "t4-small", "l4x4"]
    lab.token = lambda owner: ""
    assert lab.hub.rented.hardware(WHO) == []


def test_the_most_a_run_can_cost_is_told_before_it_starts(lab: Lab) -> None:
    told = lab.preflight("sft", {"max_steps": 3}, WHO, "hf_jobs:t4-small:5400")
    assert told["memory"]["free"] == 16_000_000_000
    assert told["price"][0].startswith("At most $0.60: $0.40 an hour for Nvidia T4 - small, ended after 90 minutes.")
    assert lab.hub.rented.cost(WHO, "local") == {}


def test_a_time_under_the_estimate_is_warned_of(lab: Lab) -> None:
    short = lab.hub.rented.price(WHO, "hf_jobs:t4-small:600", 580.0)
    assert "may be too short: an earlier run like this took 10 minutes" in short[-1]
    assert len(lab.hub.rented.price(WHO, "hf_jobs:t4-small:600", 60.0)) == 2


def test_other_hardware_for_a_space_is_its_owner_s_to_ask_for(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    space = hub.add("spaces", "ann/atelier", told={"sdk": "gradio"})
    lab = lab_of(SPACE_ID="ann/atelier")
    lab.token = {"user-ann": ANN, "user-bob": BOB}.get  # type: ignore[assignment]
    assert lab.hub.rented.space("user-bob") == lab.hub.rented.space("visitor-x") == {}
    there = lab.hub.rented.space("user-ann")
    assert (there["name"], there["hardware"][0]["flavor"]) == ("ann/atelier", "cpu-basic")
    assert "restarts on Nvidia T4 - small: $0.40 an hour" in lab.hub.rented.upgrade("user-ann", "t4-small")
    assert space.told["hardware"] == {"flavor": "t4-small", "sleepTimeSeconds": 3600}
    with pytest.raises(NotYours):
        lab.hub.rented.upgrade("user-bob", "t4-small")
    with pytest.raises(BadInput, match="can't have the hardware 'h900'"):
        lab.hub.rented.upgrade("user-ann", "h900")
    assert lab_of().hub.rented.space(WHO) == {}  # no Space
