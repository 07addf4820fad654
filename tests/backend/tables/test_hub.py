"""The Hub's dataset calls, spoken by a small local server: no real Hub can be reached from a test."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.errors import BadData, BadInput, Gated, HubError, NotFound
from backend.tables import hub, sql, stats
from backend.tables.pages import rows
from backend.tables.sources import Tables

MAIN, CONVERTED = "a" * 40, "b" * 40
TOKEN = "hf_visitor_of_the_test"


def parquet(start: int, count: int) -> bytes:
    out, numbers = io.BytesIO(), range(start, start + count)
    texts = [f"row {i} " + "lorem ipsum " * 20 for i in numbers]
    pq.write_table(pa.table({"id": list(numbers), "text": texts}), out, row_group_size=100)
    return out.getvalue()


class Hub(BaseHTTPRequestHandler):
    """{repository: {commit: {path: bytes}}}; `private` and `gated` names; every byte sent is counted."""

    repositories: dict[str, dict[str, dict[str, bytes]]]
    sent = 0
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/([^/]+)", self.path)
        assert match
        files = self.files(match[1], match[2])
        if files is None:
            return
        paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
        self.answer_json([entry for entry in listing(files) if entry["path"] in paths])

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            if self.files(match[1], match[2] or "main") is not None:
                sha = CONVERTED if "convert" in unquote(match[2] or "") else MAIN
                self.answer_json({"id": match[1], "sha": sha, "siblings": [], "tags": []})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            files = self.files(match[1], match[2])
            if files is not None:
                folder = unquote(match[3] or "")
                recursive = "recursive=true" in self.path.lower()
                found = [entry for entry in listing(files) if inside(entry["path"], folder, recursive)]
                if found:
                    self.answer_json(found)
                else:
                    self.refuse(404, "EntryNotFound")
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path):
            files = self.files(match[1], match[2])
            if files is not None:
                self.answer_file(files[unquote(match[3])])
        else:
            self.refuse(404, "EntryNotFound")

    def files(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Of one commit, or None when the answer has been given."""
        revision = unquote(revision)
        signed_in = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name not in self.repositories or ("private" in name and not signed_in):
            self.refuse(401 if "private" in name else 404, "RepoNotFound")
        elif "gated" in name and not signed_in:
            self.refuse(403, "GatedRepo")
        else:
            commits = self.repositories[name]
            commit = {"main": MAIN, "refs/convert/parquet": CONVERTED}.get(revision, revision)
            if commit in commits:
                return commits[commit]
            self.refuse(404, "RevisionNotFound")
        return None

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer_file(self, data: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(206 if asked else 200)
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("ETag", '"etag"')
        self.send_header("X-Repo-Commit", MAIN)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            type(self).sent += len(data)
            self.wfile.write(data)


def listing(files: dict[str, bytes]) -> list[dict[str, Any]]:
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents if str(parent) != "."}
    found = [{"type": "file", "path": path, "size": len(data), "oid": "c" * 40} for path, data in files.items()]
    return found + [{"type": "directory", "path": path, "size": 0, "oid": "d" * 40} for path in sorted(folders)]


def inside(path: str, folder: str, recursive: bool) -> bool:
    parent = str(PurePosixPath(path).parent)
    parent = "" if parent == "." else parent
    return parent == folder or (recursive and (not folder or parent.startswith(folder + "/")))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    converted = {
        "default/train/0000.parquet": parquet(0, 1000),
        "default/train/0001.parquet": parquet(1000, 500),
        "default/test/0000.parquet": parquet(5000, 10),
        "big/partial-train/0000.parquet": parquet(0, 5),
    }
    own = {"README.md": b"card", "data/train-00000-of-00001.parquet": parquet(0, 7), "data/test.parquet": parquet(0, 3)}
    Hub.repositories = {
        "ann/public": {MAIN: own, CONVERTED: converted},
        "ann/own-only": {MAIN: own},
        "ann/no-parquet": {MAIN: {"README.md": b"card"}},
        "ann/private": {MAIN: own, CONVERTED: converted},
        "ann/gated": {MAIN: own, CONVERTED: converted},
    }
    Hub.sent = 0
    web = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=web.serve_forever, daemon=True).start()

    real, endpoint = hub._filesystem, f"http://127.0.0.1:{web.server_address[1]}"
    monkeypatch.setattr(hub, "_filesystem", lambda token: real(token, endpoint))
    yield Hub
    web.shutdown()
    web.server_close()


def test_a_page_costs_a_few_row_groups(server: type[Hub], tables: Tables) -> None:
    table = tables.open("ann/public")
    assert (table.counts, [c.name for c in table.columns], table.remote) == ((1000, 500), ["id", "text"], True)
    server.sent = 0
    page = rows(table, 995, 10)
    assert [row[0] for row in page["rows"]] == list(range(995, 1005))
    assert (page["total"], page["partial"]) == (1500, "")
    whole = sum(len(data) for path, data in server.repositories["ann/public"][CONVERTED].items() if "train/" in path)
    assert server.sent < whole / 2
    assert f'load_dataset("ann/public", split="train", revision="{MAIN}")' == table.load


def test_configs_and_splits(server: type[Hub], tables: Tables) -> None:
    assert hub.splits("ann/public") == {"big": ["train"], "default": ["test", "train"]}
    assert tables.open("ann/public", split="test").rows == 10
    big = tables.open("ann/public", "big")
    assert big.partial == "the first 5 GB, as converted by the Hub"
    with pytest.raises(NotFound, match="no split 'dev'"):
        tables.open("ann/public", split="dev")


def test_without_a_conversion_its_own_files_are_read(server: type[Hub], tables: Tables) -> None:
    assert (tables.open("ann/own-only").rows, tables.open("ann/own-only", split="test").rows) == (7, 3)
    with pytest.raises(BadData, match="no Parquet files"):
        tables.open("ann/no-parquet")


@pytest.mark.parametrize(("name", "error"), [("ann/private", NotFound), ("ann/gated", Gated), ("ann/absent", NotFound)])
def test_refusals_and_the_visitors_own_sign_in(
    server: type[Hub], tables: Tables, name: str, error: type[HubError]
) -> None:
    with pytest.raises(error) as caught:
        tables.open(name)
    assert name in str(caught.value)
    if name != "ann/absent":
        table = tables.open(name, token=TOKEN)
        assert rows(table, 0, 1)["rows"][0][0] == 0
        assert TOKEN not in repr(table)


def test_a_part_is_brought_near_and_says_so(server: type[Hub], tables: Tables) -> None:
    table = tables.open("ann/public")
    with pytest.raises(BadInput, match="on the Hub"):
        sql.run(table, "SELECT 1")
    assert stats.column(table, "id")["rows"] == 1500
    near = hub.near(tables, table, lambda done, total: None, most=1)
    assert (near.rows, near.partial) == (1000, "the first 1,000 of 1,500 rows")
    assert sql.run(near, "SELECT max(id) FROM data")["rows"] == [[999]]
    whole = tables.nearby(table)
    assert (whole.rows, whole.partial) == (1500, "")
    assert rows(whole)["partial"] == ""
