"""One's own repositories, a search, a page; made, renamed, shown, hidden, deleted; and each refusal in words."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.lab import Lab
from tests.backend.hub.conftest import WHO
from tests.localhub import READER, Hub

CARD = b"---\nlicense: mit\n---\n# Small\n\nA *small* model.\n"


def test_my_repositories_with_size_visibility_likes_and_last_change(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/old", {"a": b"x" * 500}, at=1_700_000_000.0)
    hub.add("models", "ann/new", {"a": b"x" * 9}, private=True, likes=5, told={"pipeline_tag": "text-generation"})
    hub.add("models", "bob/other")
    hub.add("spaces", "ann/room", told={"sdk": "gradio"})
    mine = lab_of().hub.repositories
    first, second = mine.mine(WHO)
    assert (first["name"], first["private"], first["bytes"], first["likes"]) == ("ann/new", True, 9, 5)
    assert (first["note"], second["name"], second["updated"]) == ("text-generation", "ann/old", 1_700_000_000.0)
    assert [one["note"] for one in mine.mine(WHO, "space")] == ["gradio"]
    assert mine.mine(WHO, "dataset") == []


def test_a_thousand_are_listed_in_half_a_second(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    for number in range(1000):
        hub.add("models", f"ann/m{number}")
    hub.page = 400  # three pages
    mine = lab_of().hub.repositories
    mine.account.who(WHO)
    begun = time.perf_counter()
    assert len(mine.mine(WHO, fresh=True)) == 1000
    assert time.perf_counter() - begun < 2.5  # half a second on a quiet machine: tests/bench/hub.py


def test_search_by_task_library_size_and_licence(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    told = {"pipeline_tag": "text-generation", "library_name": "peft", "tags": ["license:mit"]}
    hub.add("models", "bob/tiny-lora", told=told)
    hub.add("models", "bob/tiny-other", told={"pipeline_tag": "fill-mask"})
    hub.add("models", "bob/tiny-hidden", private=True)
    search = lab_of("").hub.repositories.search
    assert {one["name"] for one in search(WHO, words="tiny")} == {"bob/tiny-lora", "bob/tiny-other"}
    narrowed = search(WHO, "model", "tiny", "text-generation", "peft", "mit", "0.5-2B")
    assert [one["name"] for one in narrowed] == ["bob/tiny-lora"]
    with pytest.raises(BadInput, match="no size 'huge'"):
        search(WHO, size="huge")


def test_a_page_has_card_files_and_what_it_was_tuned_from(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    files = {"README.md": CARD, "adapter_config.json": b"{}", "adapter.safetensors": b"x" * 2000}
    tags = ["license:mit", "base_model:bob/base", "base_model:adapter:bob/base"]
    hub.add("models", "ann/small", files, told={"tags": tags, "library_name": "peft"})
    page = lab_of().hub.repositories.page(WHO, "model", "ann/small")
    assert page["card"] == "# Small\n\nA *small* model."
    assert page["files"][0] == {"name": "adapter.safetensors", "bytes": 2000}
    assert (page["licence"], page["library"], page["base"], page["adapter"]) == ("mit", "peft", "bob/base", True)
    assert page["mine"]
    assert not lab_of("").hub.repositories.page(WHO, "model", "ann/small")["mine"]


def test_private_and_gated(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/hidden", {"README.md": CARD}, private=True)
    hub.add("models", "bob/gated", {"README.md": CARD}, gated=True)
    assert lab_of().hub.repositories.page(WHO, "model", "ann/hidden")["private"]
    assert "is gated" in lab_of().hub.repositories.page(WHO, "model", "bob/gated")["card"]
    with pytest.raises(LabError, match=r"not there|private"):
        lab_of("").hub.repositories.page(WHO, "model", "ann/hidden")
    with pytest.raises(Gated, match="terms accepted"):
        lab_of().hub.transfers.plan(WHO, "model", "bob/gated")


def test_made_renamed_shown_and_deleted_with_its_name_typed(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    mine = lab_of().hub.repositories
    assert mine.create(WHO, "dataset", "rows") == "ann/rows"
    assert hub.repositories["datasets", "ann/rows"].private
    assert mine.rename(WHO, "dataset", "ann/rows", "lines") == "ann/lines"
    mine.show(WHO, "dataset", "ann/lines", private=False)
    assert not hub.repositories["datasets", "ann/lines"].private
    with pytest.raises(BadInput, match="nothing was deleted"):
        mine.delete(WHO, "dataset", "ann/lines", "lines")
    assert [one["name"] for one in mine.mine(WHO, "dataset")] == ["ann/lines"]
    mine.delete(WHO, "dataset", "ann/lines", "ann/lines")
    assert mine.mine(WHO, "dataset") == []


def test_each_refusal_has_its_words(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/taken")
    mine = lab_of().hub.repositories
    cases = (
        (lambda: mine.create(WHO, "model", "taken"), BadInput, "hub.taken", "is taken"),
        (lambda: mine.create(WHO, "model", "bob/mine"), HubError, "hub.forbidden", "may not do that"),
        (lambda: mine.page(WHO, "model", "ann/none"), NotFound, "hub.unknown", "has no ann/none"),
        (lambda: mine.page(WHO, "model", "ann/taken", "gone"), NotFound, "not_found", "no such revision"),
        (lambda: mine.page(WHO, "model", "../etc"), BadInput, "hub.name", "can't be the name"),
        (lambda: lab_of(READER).hub.repositories.create(WHO, "model", "x"), HubError, "hub.forbidden", "scope"),
    )
    for call, kind, code, words in cases:
        with pytest.raises(kind, match=words) as error:
            call()
        assert error.value.code == code


@pytest.mark.parametrize(
    ("status", "code"), [(401, "hub.signin"), (402, "hub.payment"), (429, "hub.busy"), (503, "hub.down")]
)
def test_a_hub_in_trouble_is_said_calmly(hub: Hub, lab_of: Callable[..., Lab], status: int, code: str) -> None:
    lab = lab_of()
    lab.hub.account.who(WHO)
    hub.faults.append(("/settings", status, 9))
    hub.add("models", "ann/one")
    with pytest.raises(HubError, match=f"status {status}") as error:
        lab.hub.repositories.show(WHO, "model", "ann/one", True)
    assert error.value.code == code
