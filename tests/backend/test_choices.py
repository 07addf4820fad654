import pytest

from backend.errors import NotFound


def test_adapters_of_a_model(lab, launch):
    run = launch()
    assert lab.adapters("ann") == []
    with pytest.raises(NotFound, match="no adapter yet"):
        lab.catalog.adapter(f"run/{run.id}", "ann")
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_config.json").write_text("{}")
    assert [entry.name for entry in lab.adapters("ann")] == [f"run/{run.id}"]
    assert lab.adapters("bob") == []
    with pytest.raises(NotFound):
        lab.catalog.adapter(f"run/{run.id}", "bob")


def test_offers_are_listed_when_a_name_is_looked_for(lab, monkeypatch):
    from backend.engines.remote import Offer

    monkeypatch.setattr(lab.catalog, "search", lambda query, task: [])
    monkeypatch.setattr(lab.remote, "offers", lambda query: [Offer("org/big", "fast", price_in=0.2, price_out=0.6)])
    last = lab.models("big")[-1]
    assert (last.name, last.source) == ("org/big:fast", "provider")
    assert "$0.20 in" in last.note
    assert "provider" not in {entry.source for entry in [*lab.models(), *lab.models("big", "summarization")]}
