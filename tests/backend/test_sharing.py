import pytest

from backend.engines.client import EngineProcess
from backend.errors import NotYours
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake


@pytest.fixture
def lab(home):
    return Lab(Settings.read({"ATELIER_HOME": str(home)}), Store(home), (Fake(),), EngineProcess(env={}))


def test_a_public_run_is_looked_at_and_nothing_else(lab):
    run = lab.launch("sft", {}, "ann", "fake")
    with pytest.raises(NotYours):
        lab.sharing.publish(run.id, "bob")
    lab.sharing.publish(run.id, "ann")
    told = lab.status(run.id, "bob")
    assert (told["state"], told["yours"], told["public"]) == ("finished", False, True)
    assert lab.watch(run.id, "bob")[0] == lab.watch(run.id, "ann")[0]
    assert lab.runs("bob") == []
    for act in (lab.cancel, lab.resume, lab.run, lab.lineage, lab.outcomes.zip, lab.sharing.publish):
        with pytest.raises(NotYours):
            act(run.id, "bob")


def test_private_again(lab):
    run = lab.launch("sft", {}, "ann", "fake")
    lab.sharing.publish(run.id, "ann")
    assert lab.status(run.id, "ann")["yours"]
    lab.sharing.publish(run.id, "ann", False)
    with pytest.raises(NotYours):
        lab.status(run.id, "bob")
