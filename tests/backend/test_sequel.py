"""What follows a training run by itself: once, when it has finished, whatever was restarted in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.jobs import Job, Run
from backend.lab import Lab
from backend.sequel import Sequel
from backend.starter import MODEL_ID
from backend.targets.fake import Fake
from tests.ui.scripted import lab as scripted


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def trained(lab: Lab, **params: Any) -> Run:
    """A run under way that has an adapter already."""
    fake = lab.targets["fake"]
    assert isinstance(fake, Fake)
    fake.script = lambda run: [ev.Started()]
    run = lab.launch("sft", {"evaluate_after": True, "max_steps": 1} | params, "ann", "fake")
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_config.json").write_text("{}")
    return run


def evaluations(lab: Lab) -> list[dict[str, Any]]:
    return [one for one in lab.runs("ann") if one["recipe"] == "evaluate"]


def end(lab: Lab, run: Run, event: ev.Event) -> None:
    fake = lab.targets["fake"]
    assert isinstance(fake, Fake)
    fake.write(run, event)


def test_it_is_measured_beside_its_base_once_it_has_finished(lab: Lab) -> None:
    run = trained(lab)
    lab.sequel.tend(lab.store.run)
    assert evaluations(lab) == []
    end(lab, run, ev.Finished())
    again = Sequel(lab.settings.home, lab.evaluations, lab.states.of)  # as after a restart
    again.tend(lab.store.run)
    again.tend(lab.store.run)
    found = evaluations(lab)
    assert {one["params"]["dataset"] for one in found} == {"sample/evaluation", "sample/forgetting"}
    assert all(one["params"]["models"] == [MODEL_ID, f"run/{run.id}"] for one in found)
    assert {(one["params"]["max_rows"], one["params"]["pick_rows"]) for one in found} == {(64, "random")}
    family = {one["id"]: one["sources"] for one in lab.lineage(run.id, "ann")}
    assert {family[one["id"]][run.id] for one in found} == {"models"}
    lab.sequel.promise(run)  # a mark that a crash left
    lab.sequel.tend(lab.store.run)
    assert len(evaluations(lab)) == 2


@pytest.mark.parametrize("event", [ev.Failed(message="It broke."), ev.Cancelled()])
def test_nothing_follows_what_did_not_finish(lab: Lab, event: ev.Event) -> None:
    run = trained(lab)
    end(lab, run, event)
    lab.sequel.tend(lab.store.run)
    assert evaluations(lab) == []
    assert list((lab.settings.home / "sequels").iterdir()) == []


def test_nothing_follows_unasked_and_what_can_not_be_compared_is_let_go(lab: Lab) -> None:
    run = trained(lab, evaluate_after=False)
    end(lab, run, ev.Finished())
    assert not (lab.settings.home / "sequels").exists()
    gone = lab.store.add(Job("sft", {"model": MODEL_ID, "evaluate_after": True}, "fake", "ann"), {})
    lab.sequel.promise(gone)
    gone.log.write_text(ev.encode(ev.Finished()) + "\n")
    lab.sequel.tend(lab.store.run)  # it made nothing
    assert evaluations(lab) == []
    assert list((lab.settings.home / "sequels").iterdir()) == []
