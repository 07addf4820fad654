from backend import events as ev
from backend.engines.client import EngineProcess
from backend.lab import Lab
from backend.store import Store


def test_gone_without_a_word_is_failed_with_a_next_step(lab, fake, launch):
    fake.script = lambda run: [ev.Started()]
    run = launch()
    fake.living.clear()
    told = lab.status(run.id, "ann")
    assert told["state"] == "failed"
    assert "Resume" in told["error"]["hint"]


def test_a_new_server_tells_the_same(lab, fake, home, launch):
    ids = [launch().id for _ in range(5)]
    before = lab.runs("ann")
    again = Lab(lab.settings, Store(home), (fake,), EngineProcess(env={}))
    assert again.runs("ann") == before
    assert [run["id"] for run in before] == ids[::-1]


def test_the_remembered_summary_is_not_believed_once_the_log_has_grown(lab, fake, home, launch):
    run = launch()
    assert lab.runs("ann")[0]["state"] == "finished"
    fake.script = lambda run: [ev.Started(step=3), ev.Measured(step=9, values={"loss": 0.1})]
    fake.start(run)
    again = Lab(lab.settings, Store(home), (fake,), EngineProcess(env={}))
    assert again.runs("ann")[0]["state"] == "running"
    assert again.status(run.id, "ann")["metrics"]["loss"] == 0.1
