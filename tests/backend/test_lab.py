"""The door: what is unknown is caught there, once, and secrets stay outside."""

import pytest

from backend.engines.client import EngineProcess
from backend.errors import Broken
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake


def test_the_unknown_is_caught_once_and_logged(lab, monkeypatch, caplog):
    def breaks(*_):
        raise ZeroDivisionError("secret details")

    monkeypatch.setattr(lab.store, "runs", breaks)
    with pytest.raises(Broken, match="Something broke on our side") as caught:
        lab.runs("ann")
    assert "secret details" not in str(caught.value)
    assert "secret details" in caplog.text


def test_no_secret_is_stored(home, fake):
    settings = Settings.read({"ATELIER_HOME": str(home), "HF_TOKEN": "hf_averysecretvalue123"})
    lab = Lab(settings, Store(home), (fake,), EngineProcess(env={}))
    lab.launch("sft", {}, "ann", "fake")
    for path in home.rglob("*"):
        if path.is_file():
            assert b"averysecret" not in path.read_bytes(), path


def test_the_machine_s_own_sign_in_is_lent_to_nobody_else(home, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_own")
    for env, token in (({}, "hf_own"), ({"GRADIO_SHARE": "1"}, "")):
        settings = Settings.read({"ATELIER_HOME": str(home)} | env)
        assert Lab(settings, Store(home), (Fake(),), EngineProcess(env={})).token("ann") == token
