import pytest

from backend import events as ev
from backend.errors import LabError


def test_a_model_at_a_provider_wants_the_askers_own_token(lab, monkeypatch):
    asked = {"model": "org/big:fast", "messages": [{"role": "user", "content": "hi"}]}
    lab.token = lambda owner: "hf_ann" if owner == "ann" else ""
    monkeypatch.setattr(
        lab.remote, "_answer", lambda request, provider, token: iter([ev.Wrote(text=f"{provider} {token}")])
    )
    assert next(lab.stream("text", asked, "ann")).text == "fast hf_ann"
    with pytest.raises(LabError, match="Sign in") as caught:
        next(lab.stream("text", asked, "bob"))
    assert caught.value.code == "provider.sign_in"


def test_the_engine_tells_owners_apart_and_knows_no_name(lab, monkeypatch):
    told = []

    def stream(engine, params, owner):
        told.append(owner)
        return iter([ev.Finished()])

    monkeypatch.setattr(lab.engine, "stream", stream)
    asked = {"messages": [{"role": "user", "content": "hi"}]}
    for owner in ("ann", "bob", "ann"):
        list(lab.stream("text", asked, owner))
    assert told[0] == told[2] != told[1]
    assert not any(name in alias for alias in told for name in ("ann", "bob"))
