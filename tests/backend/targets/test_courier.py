"""What a run's owner is told while it waits, which machine it failed of, and how its end is read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub._jobs_api import JobHardwareInfo

from backend import events as ev
from backend.jobs import Job
from backend.store import Store
from backend.targets import courier
from backend.targets.courier import Courier, how_it_ended
from tests.localjobs import HARDWARE


@pytest.mark.parametrize(("message", "code"), [("Job timeout", "jobs.timeout"), ("exit code: 1", "jobs.ended")])
def test_how_a_job_ended(message: str, code: str) -> None:
    assert how_it_ended("ERROR", message).code == code


def test_a_job_that_waits_long_is_said_once_with_what_else_can_be_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "PATIENCE", 0.0)
    monkeypatch.setattr(courier, "EVERY", 0.0)
    run = Store(home).add(Job("count", {}, "hf_jobs:t4-small:600", "ann"), {})
    one = Courier(run, "hf_token", "backend.recipes")
    one.state = {"jobs": ["1"], "namespace": "ann"}
    stages = iter(["SCHEDULING", "SCHEDULING", "SCHEDULING", "COMPLETED"])

    def inspect(**_: Any) -> Any:
        return SimpleNamespace(status=SimpleNamespace(stage=next(stages), message=None))

    hardware = [JobHardwareInfo(**one, unitCostMicroUSD=1, unitLabel="minute") for one in HARDWARE]
    one.api = SimpleNamespace(inspect_job=inspect, list_jobs_hardware=lambda: hardware)  # type: ignore[assignment]
    one.watch()
    (said,) = ev.read(run.log)[0]
    assert isinstance(said, ev.Logged)
    assert said.level == "warning"
    assert "No t4-small has been free" in said.text
    assert "As large: l4x4 ($3.80 an hour)." in said.text
    assert "other hardware may be free" in said.text


@pytest.fixture
def two(home: Path) -> Courier:
    run = Store(home).add(Job("sft", {}, "hf_jobs:t4-small:600:2", "ann"), {})
    one = Courier(run, "hf_token", "backend.recipes")
    one.state = {"jobs": ["a", "b"], "lines": [0, 0], "namespace": "ann"}
    return one


LOST = ev.Failed(code="broken", message="Training broke off: Connection closed by peer", hint="")


def test_of_several_machines_the_one_that_failed_first_is_named(two: Courier) -> None:
    assert two.blame([("COMPLETED", ""), ("COMPLETED", "")]) is None
    assert two.blame([("CANCELED", ""), ("CANCELED", "")]) is None
    two.failed = {0: LOST}
    killed = two.blame([("ERROR", "exit code: 1"), ("ERROR", "exit code: 137")])
    assert killed is not None
    assert killed.message == "Machine 2 of 2: The job ended at the Hub as ERROR: exit code: 137."
    two.failed = {0: LOST, 1: ev.Failed(code="no_room.memory", message="Memory ran out.", hint="Use less.")}
    full = two.blame([("ERROR", ""), ("ERROR", "")])
    assert full is not None
    assert (full.code, full.message, full.hint) == (
        *("no_room.memory", "Machine 2 of 2: Memory ran out.", "Use less."),
    )


def test_lines_of_the_other_machine_bear_its_number_and_its_end_is_not_the_run_s(
    two: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "a": ["loading", ev.line(ev.Measured(step=1, values={"loss": 2.0})), ev.line(ev.Finished())],
        "b": ["loading", ev.line(ev.Logged(text="Ready.")), ev.line(LOST)],
    }
    monkeypatch.setattr(two, "lines", lambda job: iter(said[job]))
    for machine in (0, 1):
        two.follow(machine)
    told = ev.read(two.run.log)[0]
    assert [getattr(one, "text", "") for one in told] == ["loading", "", "[machine 2] loading", "[machine 2] Ready."]
    assert ([type(one) for one in two.held], list(two.failed), two.step) == ([ev.Finished], [1], 1)


def test_a_courier_after_another_hears_of_the_end_again_and_tells_no_line_twice(
    two: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["one", ev.line(ev.Produced(kind="adapter", name="adapter", file="adapter")), ev.line(ev.Finished()), "two"]
    two.state["lines"] = [3, 0]
    monkeypatch.setattr(two, "lines", lambda job: iter(lines))
    two.follow(0)
    assert [type(one) for one in two.held] == [ev.Produced, ev.Finished]
    assert [one.text for one in ev.read(two.run.log)[0] if isinstance(one, ev.Wrote)] == ["two"]


def test_a_group_that_is_not_whole_is_given_up(two: Courier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second machine is refused: the first one would wait for it, and cost."""
    cancelled: list[str] = []

    def run_job(**asked: Any) -> Any:
        if asked["network_aliases"] == ["2"]:
            raise BusyError
        return SimpleNamespace(id="first", url="")

    class BusyError(Exception):
        pass

    two.api = SimpleNamespace(  # type: ignore[assignment]
        whoami=lambda: {"name": "ann"}, list_jobs=lambda **_: [], create_repo=lambda *_, **__: None, run_job=run_job,
        cancel_job=lambda job_id, namespace: cancelled.append(job_id),
    )  # fmt: skip
    monkeypatch.setattr(two, "put", lambda repository: None)
    with pytest.raises(BusyError):
        two.send()
    assert cancelled == ["first"]
    assert not two.state.get("sent")
