import json

import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.errors import BadData, BadInput, NotFound, NotYours
from backend.jobs import Job
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake, tiny_run


def test_a_run_with_nothing_but_defaults(lab, launch):
    run = launch()
    told = lab.status(run.id, "ann")
    assert (told["state"], told["recipe"], told["target"]) == ("finished", "sft", "fake")
    assert told["progress"]["done"] == told["progress"]["total"] == 3
    assert told["params"]["dataset"] == "sample/instructions"
    assert told["metrics"]["train_loss"] == 1.0
    assert told["error"] is None


def test_watch_goes_on_from_its_cursor(lab, fake, launch):
    fake.script = lambda run: [ev.Started()]
    run = launch()
    first, cursor = lab.watch(run.id, "ann")
    assert [type(e) for e in first] == [ev.Started]
    assert lab.watch(run.id, "ann", cursor) == ([], cursor)
    fake.write(run, ev.Measured(step=1, values={"loss": 2.0}))
    then, _ = lab.watch(run.id, "ann", cursor)
    assert [e.values for e in then] == [{"loss": 2.0}]
    with pytest.raises(BadInput, match="after is -1"):
        lab.watch(run.id, "ann", -1)


@pytest.mark.parametrize("ask", ["status", "watch", "cancel", "resume", "run"])
def test_somebody_elses_run(lab, ask, launch):
    run = launch()
    with pytest.raises(NotYours, match="This run is not yours"):
        getattr(lab, ask)(run.id, "bob")
    assert lab.runs("bob") == []
    with pytest.raises(NotFound, match="no run 'nope'"):
        getattr(lab, ask)("nope", "ann")


def test_stop_then_resume(lab, fake, launch):
    fake.script = lambda run: [ev.Started(), ev.Measured(step=1, values={"loss": 1.0})]
    run = launch()
    assert lab.status(run.id, "ann")["state"] == "running"
    with pytest.raises(BadInput, match="is running; only a stopped run"):
        lab.resume(run.id, "ann")
    assert lab.cancel(run.id, "ann", save=True) == "paused"
    assert lab.cancel(run.id, "ann", save=False) == "paused", "what has ended is left alone"
    fake.script = tiny_run
    assert lab.resume(run.id, "ann") == "finished"
    with pytest.raises(BadInput, match="is finished"):
        lab.resume(run.id, "ann")


def test_a_run_goes_on_elsewhere(home, fake):
    """Refused a GPU, it goes on with the CPU; where its target is gone it can be read all the same."""
    other = Fake()
    other.name = "lent"
    other.script = lambda run: [ev.Started(), ev.Paused(step=2, reason="refused")]
    settings = Settings.read({"ATELIER_HOME": str(home)})
    both = Lab(settings, Store(home), (fake, other), EngineProcess(env={}))
    run = both.launch("sft", {}, "ann", "lent")
    assert both.status(run.id, "ann")["state"] == "paused"
    alone = Lab(settings, Store(home), (fake,), EngineProcess(env={}))
    assert [one["state"] for one in alone.runs("ann")] == ["paused"]
    with pytest.raises(NotFound, match="no target 'lent' here"):
        alone.resume(run.id, "ann")
    with pytest.raises(NotFound, match="no target 'moon' here"):
        alone.resume(run.id, "ann", "moon")
    assert alone.resume(run.id, "ann", "fake") == "finished"
    assert alone.status(run.id, "ann")["target"] == "fake"
    assert json.loads((run.folder / "job.json").read_text())["target"] == "fake"


def test_rows_that_are_too_long_are_told_before_the_run(lab, monkeypatch, launch):
    long = {"problem": {"code": "data.long", "message": "Row 2 is longer than 8 tokens.", "hint": "Cut it."}}
    monkeypatch.setattr(lab.lenses, "look", lambda recipe, params: {"long": long})
    for ask in (launch, lambda **params: lab.preflight("sft", params, "ann", "fake")):
        with pytest.raises(BadData, match="Row 2 is longer than 8 tokens"):
            ask(long_rows="stop")
    assert lab.runs("ann") == []
    launch(long_rows="cut")


def test_two_launches_at_once_are_two_runs(lab, launch):
    first, second = launch(), launch()
    assert first.id != second.id
    assert lab.store.run(first.id).job == Job("sft", lab.status(first.id, "ann")["params"], "fake", "ann")
