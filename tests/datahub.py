"""A Hub of datasets on this machine: the calls that huggingface_hub makes, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MAIN, CONVERTED, OLD = "a" * 40, "b" * 40, "e" * 40
TOKEN = "hf_visitor_of_the_test"

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


class Hub(BaseHTTPRequestHandler):
    """{repository: {commit: {path: bytes}}}; `private` and `gated` names; every byte sent is counted."""

    repositories: dict[str, dict[str, dict[str, bytes]]]
    renamed: dict[str, str]  # old names
    sent = 0
    asked: list[str]  # searches, as they were asked
    made: dict[str, bool]  # repositories that were created, and whether they are private
    stored: dict[str, bytes]  # large files by their hash, before they are committed
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        """A large file is stored, as a bucket would."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.stored[hashlib.sha256(data).hexdigest()] = data
        self.answer_json({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.moved():
            return
        if self.path.startswith("/api/validate-yaml"):
            self.answer_json({"errors": [], "warnings": []})
            return
        if match := re.search(r"/preupload/|/commit/|/info/lfs/|/api/repos/create", self.path):
            self.write(body)
            return
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/([^/]+)", self.path)
        assert match
        files = self.files(match[1], match[2])
        if files is None:
            return
        paths = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode()).get("paths", [])
        self.answer_json([entry for entry in listing(files) if entry["path"] in paths])

    def write(self, body: bytes) -> None:
        """What only a sign-in may: create, ask how to send, commit. Files of 1 kB and more go the large way."""
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refuse(403, "")
        elif self.path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told.get('organization') or 'ann'}/{told['name']}"
            if name in self.repositories:
                self.answer_json({"url": f"http://{self.headers['Host']}/datasets/{name}"}, 409)
                return
            self.made[name] = told.get("visibility") == "private"
            self.repositories[name] = {MAIN: {}}
            self.answer_json({"url": f"http://{self.headers['Host']}/datasets/{name}"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            ways = [{"path": f["path"], "uploadMode": "lfs" if f["size"] >= 1000 else "regular"} for f in files]
            self.answer_json({"files": [way | {"shouldIgnore": False, "oid": None} for way in ways]})
        elif "/info/lfs/objects/batch" in self.path:
            place = f"http://{self.headers['Host']}/bucket"
            objects = [one | {"actions": {"upload": {"href": place}}} for one in json.loads(body)["objects"]]
            self.answer_json({"transfer": "basic", "objects": objects})
        else:
            name = self.path.split("/api/datasets/")[1].split("/commit/")[0]
            files = self.repositories[name][MAIN]
            for line in body.splitlines():
                told = json.loads(line)
                if told["key"] == "file":
                    files[told["value"]["path"]] = base64.b64decode(told["value"]["content"])
                elif told["key"] == "lfsFile":
                    files[told["value"]["path"]] = self.stored[told["value"]["oid"]]
            place = f"http://{self.headers['Host']}/datasets/{name}/commit/{MAIN}"
            self.answer_json({"commitUrl": place, "commitOid": MAIN, "success": True})

    def moved(self) -> bool:
        """Whether the repository has another name now, which the answer tells."""
        old = next((old for old in self.renamed if f"/datasets/{old}" in self.path), "")
        if old:
            self.send_response(307)
            self.send_header("Location", self.path.replace(old, self.renamed[old]))
            self.send_header("Content-Length", "0")
            self.end_headers()
        return bool(old)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self.moved():
            return
        if path == "/":
            self.answer_json({})
        elif path == "/api/datasets":
            self.asked.append(urlsplit(self.path).query)
            words = parse_qs(self.asked[-1]).get("search", [""])[0]
            self.answer_json(
                [
                    {
                        "id": name,
                        "downloads": 7,
                        "likes": 1,
                        "tags": ["license:mit"],
                        "gated": "gated" in name and "auto",
                    }
                    for name in self.repositories
                    if words in name and "private" not in name
                ]
            )
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/auth-check", path):
            if self.files(match[1], "main") is not None:
                self.answer_json({})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/refs", path):
            if self.files(match[1], "main") is not None:
                branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": MAIN}
                tag = {"name": "v1", "ref": "refs/tags/v1", "targetCommit": OLD}
                self.answer_json({"branches": [branch], "tags": [tag], "converts": []})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commits/([^/]+)", path):
            if self.files(match[1], "main") is not None:
                commit = {
                    "id": MAIN,
                    "title": "First",
                    "message": "",
                    "date": "2026-01-02T03:04:05.000Z",
                    "authors": [],
                }
                self.answer_json([commit])
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            if self.files(match[1], match[2] or "main") is not None:
                asked = unquote(match[2] or "main")
                sha = {"refs/convert/parquet": CONVERTED, "v1": OLD, OLD: OLD}.get(asked, MAIN)
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
                if unquote(match[3]) in files:
                    self.answer_file(files[unquote(match[3])], self.commit(unquote(match[2])))
                else:
                    self.refuse(404, "EntryNotFound")
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
            if (commit := self.commit(revision)) in commits:
                return commits[commit]
            self.refuse(404, "RevisionNotFound")
        return None

    def commit(self, revision: str) -> str:
        return {"main": MAIN, "v1": OLD, "refs/convert/parquet": CONVERTED}.get(revision, revision)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_json(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer_file(self, data: bytes, commit: str) -> None:
        whole, asked = data, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        self.send_response(206 if asked else 200)
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            data = data[first : last + 1]
        self.send_header("ETag", f'"{hashlib.sha256(whole).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
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


@contextmanager
def serving() -> Iterator[tuple[str, type[Hub]]]:
    """The server's address and the class that holds what it knows."""
    converted = {
        "default/train/0000.parquet": parquet(0, 1000),
        "default/train/0001.parquet": parquet(1000, 500),
        "default/test/0000.parquet": parquet(5000, 10),
        "big/partial-train/0000.parquet": parquet(0, 5),
    }
    card = b"---\nlicense: mit\n---\n# Rows\n\nNumbered *rows*.\n"
    own = {"README.md": card, "data/train-00000-of-00001.parquet": parquet(0, 7), "data/test.parquet": parquet(0, 3)}
    plain = {"README.md": b"card", "train.csv": b"a,b\n1,x\n2,y\n", "test.csv": b"a,b\n3,z\n", "notes.md": b"no"}
    Hub.repositories = {
        "ann/public": {MAIN: own, CONVERTED: converted, OLD: {"data/train.parquet": parquet(0, 2)}},
        "ann/own-only": {MAIN: own},
        "ann/no-parquet": {MAIN: {"README.md": b"card"}},
        "ann/private": {MAIN: own, CONVERTED: converted},
        "ann/private-csv": {MAIN: plain},
        "ann/gated": {MAIN: own, CONVERTED: converted},
        "ann/configs": {
            MAIN: {"README.md": CONFIGS, **{f"{part}.parquet": parquet(i, 3) for i, part in enumerate(PARTS)}},
            CONVERTED: {f"{part}/0000.parquet": parquet(i, 3) for i, part in enumerate(PARTS)},
            OLD: {"README.md": CONFIGS, **{f"{part}.parquet": parquet(10 + i, 3) for i, part in enumerate(PARTS)}},
        },
    }
    Hub.renamed = {"ann/former": "ann/public"}
    Hub.sent, Hub.asked, Hub.made, Hub.stored = 0, [], {}, {}
    web = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{web.server_address[1]}", Hub
    finally:
        web.shutdown()
        web.server_close()


def here(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Have huggingface_hub take `endpoint` for the Hub, as HF_ENDPOINT would have before it was imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its storage speaks no plain HTTP
