"""Publishing: what comes out of the steps arrives at the Hub with its card, and opens again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from backend.data import Data, Source
from backend.errors import BadInput, LabError
from backend.store import Store
from tests.localhub import ANN, READER, Hub

STEPS = [{"do": "drop", "columns": ["n"]}, {"do": "split", "test": 0.5}]


@pytest.fixture
def mine(store: Store, tmp_path: Path) -> Source:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"n": i, "text": f"{i} " * 900}) + "\n" for i in range(4)))
    return Source(store.upload("visitor-a", file, file.name), "visitor-a", token=ANN)


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own way to a bucket
def test_the_rows_and_the_card_arrive(data: Data, server: Hub, mine: Source) -> None:
    card = data.shape.card(mine, STEPS, "ann/new", "mit")
    assert "license: mit" in card
    assert "remove_columns" in card
    told: list[tuple[float, float]] = []
    place = data.shape.publish(mine, STEPS, "ann/new", card, say=lambda *far: told.append(far))
    assert place.endswith("/datasets/ann/new")
    assert (server.repositories["datasets", "ann/new"].private, told[-1]) == (True, (3, 3))
    files = server.repositories["datasets", "ann/new"].files
    assert sorted(files) == [
        "README.md", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"
    ]  # fmt: skip
    assert pq.read_table(io.BytesIO(files["data/train-00000-of-00001.parquet"])).column_names == ["text"]
    readme = files["README.md"].decode()
    assert readme.startswith("---\nlicense: mit\n")
    assert "- split: test\n    path: data/test-*" in readme
    assert "remove_columns" in readme
    again = Source("ann/new", "visitor-a", split="test", token=ANN)
    assert data.facts(again)["rows"] == 2
    data.shape.publish(mine, [], "ann/new", card)  # a second time, over what is there
    assert "data_files:\n  - split: train\n    path: data/train-*\n---" in (
        server.repositories["datasets", "ann/new"].files["README.md"].decode()
    )


def test_nobody_publishes_as_the_server(data: Data, server: Hub, mine: Source) -> None:
    with pytest.raises(LabError, match="not signed in"):
        data.shape.publish(Source(mine.dataset, mine.owner), [], "ann/new")
    with pytest.raises(BadInput, match="no name for a dataset"):
        data.shape.publish(mine, [], "../evil")
    with pytest.raises(LabError, match="does not let us"):
        data.shape.publish(Source(mine.dataset, mine.owner, token=READER), [], "ann/new")
    assert ("datasets", "ann/new") not in server.repositories
