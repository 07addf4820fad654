"""Datasets on the Hub of `tests/localhub.py`, as Ann has them there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from tests import localhub
from tests.localhub import Hub

MAIN, CONVERTED, OLD = "a" * 40, "b" * 40, "e" * 40
REFS = {"v1": OLD, "refs/convert/parquet": CONVERTED}
PARTS = ("de/test", "de/train", "en/test", "en/train")  # config and split
CONFIGS = b"""---
configs:
- config_name: de
  data_files: [{split: train, path: de/train.parquet}, {split: test, path: de/test.parquet}]
- config_name: en
  data_files: [{split: train, path: en/train.parquet}, {split: test, path: en/test.parquet}]
---
# Two configs
"""


def parquet(start: int, count: int) -> bytes:
    out, numbers = io.BytesIO(), range(start, start + count)
    texts = [f"row {i} " + "lorem ipsum " * 20 for i in numbers]
    pq.write_table(pa.table({"id": list(numbers), "text": texts}), out, row_group_size=100)
    return out.getvalue()


@contextmanager
def serving() -> Iterator[Hub]:
    """With datasets that are public, private, gated, converted or not, renamed, and one of two configs."""
    converted = {
        "default/train/0000.parquet": parquet(0, 1000),
        "default/train/0001.parquet": parquet(1000, 500),
        "default/test/0000.parquet": parquet(5000, 10),
        "big/partial-train/0000.parquet": parquet(0, 5),
    }
    card = b"---\nlicense: mit\n---\n# Rows\n\nNumbered *rows*.\n"
    own = {"README.md": card, "data/train-00000-of-00001.parquet": parquet(0, 7), "data/test.parquet": parquet(0, 3)}
    plain = {"README.md": b"card", "train.csv": b"a,b\n1,x\n2,y\n", "test.csv": b"a,b\n3,z\n", "notes.md": b"no"}
    first, now = (
        {"README.md": CONFIGS, **{f"{part}.parquet": parquet(begin + i, 3) for i, part in enumerate(PARTS)}}
        for begin in (10, 0)
    )
    of_configs = {f"{part}/0000.parquet": parquet(i, 3) for i, part in enumerate(PARTS)}
    old = {"data/train.parquet": parquet(0, 2)}
    with localhub.serving() as hub:
        public = hub.add("datasets", "ann/public", told={"tags": ["license:mit", "language:en"]})
        public.commits, public.refs = {OLD: old, CONVERTED: converted, MAIN: own}, REFS
        hub.add("datasets", "ann/own-only").commits = {MAIN: own}
        hub.add("datasets", "ann/no-parquet").commits = {MAIN: {"README.md": b"card"}}
        for name, more in (("ann/private", {"private": True}), ("ann/gated", {"gated": True})):
            kept = hub.add("datasets", name, **more)
            kept.commits, kept.refs = {CONVERTED: converted, MAIN: own}, REFS
        hub.add("datasets", "ann/private-csv", private=True).commits = {MAIN: plain}
        configs = hub.add("datasets", "ann/configs")
        configs.commits, configs.refs = {OLD: first, CONVERTED: of_configs, MAIN: now}, REFS
        hub.renamed = {"ann/former": "ann/public"}
        yield hub
