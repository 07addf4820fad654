"""What the cache holds, what deleting would free and does free, what is left over, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants, snapshot_download

from backend.errors import NoRoom, NotFound, NotYours
from backend.hub.cache import LEFT_OVER
from backend.lab import Lab
from tests.backend.hub.conftest import WHO
from tests.localhub import Hub


@pytest.fixture
def filled(hub: Hub, lab_of: Callable[..., Lab]) -> Lab:
    """Two repositories; of one a revision has been replaced, and a download was cut off."""
    lab = lab_of()
    one = hub.add("models", "ann/one", {"a.bin": b"a" * 3000})
    hub.add("datasets", "ann/rows", {"rows.csv": b"r" * 500})
    cache = constants.HF_HUB_CACHE
    snapshot_download("ann/one", cache_dir=cache)
    one.commit({"a.bin": b"b" * 4000})
    snapshot_download("ann/one", cache_dir=cache)
    snapshot_download("ann/rows", repo_type="dataset", cache_dir=cache)
    (Path(cache) / "models--ann--one" / "blobs" / "half.incomplete").write_bytes(b"h" * 100)
    return lab


def test_sizes_kinds_and_what_is_left_over(filled: Lab) -> None:
    told = filled.hub.cache.look(WHO)
    assert [(one["kind"], one["name"]) for one in told["repositories"]] == [
        ("model", "ann/one"),
        ("dataset", "ann/rows"),
    ]
    assert told["repositories"][0]["bytes"] == 7000
    assert told["repositories"][0]["used"] > 1e9
    assert [bool(one["refs"]) for one in told["repositories"][0]["revisions"]] == [True, False]
    assert told["left_over"] == {"bytes": 3100, "files": 2}


def test_a_dry_run_deletes_nothing_and_says_what_the_deletion_frees(filled: Lab) -> None:
    cache = filled.hub.cache
    assert cache.plan(WHO, ["dataset/ann/rows"])["bytes"] == 500
    assert len(cache.look(WHO)["repositories"]) == 2
    assert cache.delete(WHO, ["dataset/ann/rows"]) == 500
    assert cache.plan(WHO, [LEFT_OVER])["bytes"] == cache.delete(WHO, [LEFT_OVER]) == 3100
    assert [(one["name"], one["bytes"]) for one in cache.look(WHO)["repositories"]] == [("ann/one", 4000)]
    assert cache.look(WHO)["left_over"] == {"bytes": 0, "files": 0}
    with pytest.raises(NotFound, match="holds no dataset/ann/rows"):
        cache.delete(WHO, ["dataset/ann/rows"])


def test_an_empty_cache_is_no_error(lab_of: Callable[..., Lab]) -> None:
    told = lab_of().hub.cache.look(WHO)
    assert (told["bytes"], told["repositories"], told["left_over"]["files"]) == (0, [], 0)


def test_a_download_that_would_not_fit_is_refused_before_it_begins(hub: Hub, lab_of: Callable[..., Lab]) -> None:
    hub.add("models", "ann/big", {"weights.bin": b"w" * 50_000})
    lab = lab_of(ATELIER_CACHE_LIMIT="0.00002")  # 20 kB
    plan = lab.hub.transfers.plan(WHO, "model", "ann/big")
    assert (plan["bytes"], plan["fits"], plan["free"]) == (50_000, False, 20_000)
    with pytest.raises(NoRoom, match=r"ann/big needs .* Delete something"):
        lab.hub.transfers.download(WHO, "model", "ann/big")
    assert lab.hub.transfers.list(WHO) == []


def test_others_can_neither_see_nor_delete(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(GRADIO_SERVER_NAME="0.0.0.0", SPACE_ID="ann/atelier")
    for call in (lambda: lab.hub.cache.look(WHO), lambda: lab.hub.cache.delete(WHO, [LEFT_OVER])):
        with pytest.raises(NotYours, match="only its owner"):
            call()
    assert lab.hub.cache.look("user-ann")["bytes"] == 0
