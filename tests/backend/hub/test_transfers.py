"""Downloads and uploads with the real clients: cut connections, checksums, stop and go on, no token abroad."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from backend.errors import BadInput, HubError, NotFound, NotYours
from backend.lab import Lab
from tests.backend.hub.conftest import WHO
from tests.localhub import ANN, Hub

PIECE = 1024


def ended(lab: Lab, id: str, patience: float = 60) -> dict[str, Any]:
    """The transfer once it goes on no more."""
    deadline = time.monotonic() + patience
    while (one := next(one for one in lab.hub.transfers.list(WHO) if one["id"] == id))["state"] == "running":
        assert time.monotonic() < deadline, one
        time.sleep(0.02)
    return one


def test_download_of_what_is_needed_with_right_checksums(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    weights = os.urandom(300_000)
    files = {
        "README.md": b"# Hi",
        "model.safetensors": weights,
        "pytorch_model.bin": b"p" * 5000,
        "onnx/m.onnx": b"o" * 9,
    }
    hub.add("models", "ann/small", files, private=True)
    lab = lab_of()
    assert lab.hub.transfers.plan(WHO, "model", "ann/small")["bytes"] == 300_004
    one = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small"))
    assert (one["state"], one["done"], one["total"], one["error"]) == ("finished", 300_004, 300_004, None)
    assert (Path(one["place"]) / "model.safetensors").read_bytes() == weights
    assert sorted(path.name for path in Path(one["place"]).iterdir()) == ["README.md", "model.safetensors"]
    abroad = [carried for host, *_, carried in hub.asked if host.startswith("localhost")]
    assert set(abroad) == {False}  # large files come from another host, which never sees the sign-in
    again = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small"))
    assert (again["state"], again["total"]) == ("finished", 0)


@pytest.mark.parametrize("cuts", [[1], [PIECE - 1, 1], [PIECE, PIECE + 1], [100_000, 1]], ids=str)
def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub, lab_of: Callable[..., Lab], cuts: list[int]) -> None:
    weights = os.urandom(200_000)
    hub.add("models", "ann/small", {"model.safetensors": weights})
    lab = lab_of()
    hub.cuts = list(cuts)
    one = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small"))
    assert (one["state"], hub.cuts) == ("finished", [])
    assert (Path(one["place"]) / "model.safetensors").read_bytes() == weights
    sent = [host for host, method, *_ in hub.asked if method == "GET" and host.startswith("localhost")]
    assert len(sent) == 1 + len(cuts)


def test_stopped_it_goes_on_later(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/small", {"model.safetensors": b"s" * 200_000})
    lab = lab_of()
    hub.faults = [("resolve", 503, 1)]  # the client waits a second before it asks again: time to stop it
    id = lab.hub.transfers.download(WHO, "model", "ann/small")
    lab.hub.transfers.stop(WHO, id)
    assert ended(lab, id)["state"] == "stopped"
    hub.faults = []
    one = ended(lab, lab.hub.transfers.again(WHO, id))
    assert one["state"] == "finished"
    assert [each["id"] for each in lab.hub.transfers.list(WHO)] == [one["id"]]


def test_what_is_not_what_the_hub_has_is_removed_and_said(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/small", {"model.safetensors": b"s" * 200_000})
    lab = lab_of()
    first = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small"))
    file = Path(first["place"]) / "model.safetensors"
    file.resolve().write_bytes(b"t" * 200_000)
    one = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small"))
    assert (one["state"], one["error"]["code"]) == ("failed", "hub.checksum")
    assert not file.exists()
    assert ended(lab, lab.hub.transfers.again(WHO, one["id"]))["state"] == "finished"
    assert file.read_bytes() == b"s" * 200_000


def test_an_older_revision(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    made = hub.add("models", "ann/small", {"a.txt": b"old"})
    old = made.sha
    made.commit({"a.txt": b"new"})
    lab = lab_of()
    one = ended(lab, lab.hub.transfers.download(WHO, "model", "ann/small", old))
    assert (Path(one["place"]) / "a.txt").read_bytes() == b"old"
    with pytest.raises(NotFound, match="no such revision"):
        lab.hub.transfers.plan(WHO, "model", "ann/small", "gone")


def test_upload_in_one_commit_then_the_same_comes_back(hub: Hub, lab_of: Callable[..., Lab], tmp_path: Path) -> None:
    made = hub.add("datasets", "ann/rows")
    (tmp_path / "big.bin").write_bytes(os.urandom(3_000_000))
    (tmp_path / "notes.txt").write_text("small")
    lab = lab_of()
    given = {"data/big.bin": tmp_path / "big.bin", "notes.txt": tmp_path / "notes.txt"}
    one = ended(lab, lab.hub.transfers.upload(WHO, "dataset", "ann/rows", given))
    assert (one["state"], one["done"], len(made.commits)) == ("finished", 3_000_005, 2)
    back = ended(lab, lab.hub.transfers.download(WHO, "dataset", "ann/rows"))
    assert (Path(back["place"]) / "data" / "big.bin").read_bytes() == (tmp_path / "big.bin").read_bytes()
    assert not any(carried for host, *_, carried in hub.asked if host.startswith("localhost"))


def test_an_upload_that_the_hub_refuses_says_why(hub: Hub, lab_of: Callable[..., Lab], tmp_path: Path) -> None:
    hub.add("models", "bob/his")
    (tmp_path / "a").write_text("a")
    lab = lab_of()
    one = ended(lab, lab.hub.transfers.upload(WHO, "model", "bob/his", {"a": tmp_path / "a"}))
    assert (one["state"], one["error"]["code"]) == ("failed", "hub.forbidden")
    with pytest.raises(HubError, match="not signed in"):
        lab_of("").hub.transfers.upload(WHO, "model", "ann/x", {"a": tmp_path / "a"})
    with pytest.raises(BadInput, match="no file"):
        lab.hub.transfers.upload(WHO, "model", "ann/x", {})


def test_one_person_s_transfers_are_not_another_s(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/small", {"a": b"a"})
    lab = lab_of()
    id = lab.hub.transfers.download(WHO, "model", "ann/small")
    assert lab.hub.transfers.list("visitor-other") == []
    with pytest.raises(NotYours):
        lab.hub.transfers.stop("visitor-other", id)
    ended(lab, id)


def test_into_a_shared_cache_nothing_private_comes(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/hidden", {"a": b"a"}, private=True)
    lab = lab_of(SPACE_ID="ann/atelier")
    lab.token = lambda owner: ANN
    with pytest.raises((HubError, NotFound)):
        lab.hub.transfers.download("user-ann", "model", "ann/hidden")
    assert not Path(constants.HF_HUB_CACHE).exists() or not list(Path(constants.HF_HUB_CACHE).glob("*ann*"))
