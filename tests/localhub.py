"""The Hub on this machine, over real HTTP: repositories of models, datasets and Spaces, accounts, large files, faults.

The real clients talk to it by `HF_ENDPOINT`. Large files live on a second host name, as they do on the Hub, and every
request is written down with whether it carried a sign-in. Jobs are in `tests/localjobs.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

KINDS = ("models", "datasets", "spaces")
PIECE = 1 << 16
LARGE = 1000  # bytes; files from here on are stored as large files
ANN, BOB, READER = "hf_of_ann", "hf_of_bob", "hf_of_ann_who_may_only_read"


@dataclass
class Repository:
    """`commits` maps a hash to files, the last one is main; `refs` names others."""

    kind: str
    name: str
    commits: dict[str, dict[str, bytes]]
    private: bool = False
    gated: bool = False
    likes: int = 3
    downloads: int = 7
    refs: dict[str, str] = field(default_factory=dict)  # tags, and what lies below refs/
    told: dict[str, Any] = field(default_factory=dict)  # pipeline_tag, library_name, tags, sdk, safetensors
    at: float = 1_780_000_000.0
    accepted: set[str] = field(default_factory=set)  # tokens whose owner accepted the terms of a gated one

    @property
    def sha(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.sha]

    def commit(self, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{self.sha}{len(self.commits)}".encode()).hexdigest()
        self.commits[sha], self.at = files, time.time()
        return sha


@dataclass
class Hub:
    """What the server knows, and what it was asked."""

    url: str = ""
    store: str = ""  # where large files are, on another host name
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str, bool]] = field(default_factory=list)  # (host, method, path, with a sign-in)
    faults: list[tuple[str, int, int]] = field(default_factory=list)  # (pattern of path, status, times)
    cuts: list[int] = field(default_factory=list)  # each download is cut after so many bytes, while there are some
    page: int = 1000  # repositories of a page of a listing
    renamed: dict[str, str] = field(default_factory=dict)  # old names
    sent: int = 0  # bytes of files
    jobs: Any = None  # tests.localjobs.Jobs

    def add(self, kind: str, name: str, files: dict[str, bytes] | None = None, **more: Any) -> Repository:
        sha = hashlib.sha1(f"{kind}/{name}".encode()).hexdigest()
        made = Repository(kind, name, {sha: dict(files or {})}, **more)
        self.repositories[kind, name] = made
        return made

    def account(self, token: str, name: str, role: str = "write", scopes: tuple[str, ...] = (), **more: Any) -> None:
        self.accounts[token] = {"name": name, "role": role, "scopes": scopes, **more}

    def fault(self, path: str) -> int:
        """The status that this request fails with, 0 for none."""
        for place, (pattern, status, times) in enumerate(self.faults):
            if re.search(pattern, path) and times > 0:
                self.faults[place] = (pattern, status, times - 1)
                return status
        return 0


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None: ...

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    # -- who and what -------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        return str(self.headers.get("Authorization") or "").removeprefix("Bearer ")

    @property
    def who(self) -> dict[str, Any]:
        return self.hub.accounts.get(self.token, {})

    def answer(self) -> None:
        hub, at = self.hub, urlsplit(self.path)
        path, self.asked = unquote(at.path), parse_qs(at.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = str(self.headers.get("Host"))
        hub.asked.append((host, self.command, path, bool(self.token)))
        if status := hub.fault(path):
            return self.say({"error": "made to fail"}, status)
        if host.startswith("localhost"):
            return self.large(path.removeprefix("/"))
        for former, name in hub.renamed.items():
            if f"/{former}" in path:
                return self.say({}, 307, {"Location": self.path.replace(former, name)})
        for pattern, what in ROUTES:
            if found := re.fullmatch(pattern, at.path):  # as it was sent: a revision may have slashes
                return what(self, *(part and unquote(part) for part in found.groups()))
        self.refuse(404, "EntryNotFound")

    def repository(self, kind: str, name: str, write: bool = False) -> Repository | None:
        """The repository, or None when the refusal has been sent."""
        found = self.hub.repositories.get((kind, name))
        mine = bool(found) and self.who.get("name") == name.partition("/")[0]
        if self.token and not self.who:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif not found or (found.private and not mine):
            self.refuse(404 if self.token else 401, "RepoNotFound")
        elif write and (not mine or self.who["role"] == "read"):
            self.refuse(403, "", "You don't have the rights to write here")
        elif found.gated and not mine and self.token not in found.accepted and not write and self.reads:
            self.refuse(403 if self.token else 401, "GatedRepo")
        else:
            return found
        return None

    @property
    def reads(self) -> bool:
        """Whether it asks for what is in a repository, not just whether there is one."""
        return "/resolve/" in self.path or self.path.endswith("/auth-check")

    def commit_of(self, found: Repository, revision: str) -> str:
        sha = found.sha if revision in ("main", "", "None") else found.refs.get(revision, revision)
        if sha not in found.commits:
            self.refuse(404, "RevisionNotFound")
            return ""
        return sha

    # -- reading ------------------------------------------------------------------------------------------------

    def whoami(self) -> None:
        if not self.who:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        one = self.who
        token = {"displayName": "laptop", "role": one["role"]}
        if one["scopes"]:
            token = {
                "displayName": "laptop",
                "role": "fineGrained",
                "fineGrained": {
                    "scoped": [{"entity": {"type": "user", "name": one["name"]}, "permissions": list(one["scopes"])}]
                },
            }
        self.say(
            {
                "type": "user",
                "id": one["name"],
                "name": one["name"],
                "fullname": one["name"].title(),
                "isPro": bool(one.get("pro")),
                "canPay": bool(one.get("can_pay")),
                "orgs": [{"name": o} for o in one.get("orgs", ())],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    def listing(self, kind: str) -> None:
        hub = self.hub
        words, author = self.asked.get("search", [""])[0], self.asked.get("author", [""])[0]
        wanted = [*self.asked.get("filter", []), *self.asked.get("pipeline_tag", [])]
        found = []
        for (its, name), one in hub.repositories.items():
            own = self.who.get("name") == name.partition("/")[0]
            tags = {*one.told.get("tags", ()), one.told.get("pipeline_tag"), one.told.get("library_name")}
            fits = words.lower() in name.lower() and (not author or name.startswith(author + "/"))
            if its == kind and fits and set(wanted) <= tags and (own or not one.private):
                found.append(one)
        start, limit = int(self.asked.get("cursor", ["0"])[0]), int(self.asked.get("limit", [hub.page])[0])
        page = found[start : start + min(limit, hub.page)]
        more = {}
        if start + len(page) < len(found) and len(page) < limit:
            query = "&".join(f"{k}={quote(v)}" for k, vs in self.asked.items() if k != "cursor" for v in vs)
            more = {"Link": f'<{hub.url}/api/{kind}?{query}&cursor={start + len(page)}>; rel="next"'}
        self.say([self.about(one) for one in page], more=more)

    def about(self, one: Repository) -> dict[str, Any]:
        """As much as the request asked for: with `expand`, nothing else."""
        size = sum(len(data) for data in one.files.values())
        whole = {
            "id": one.name,
            "_id": one.sha[:24],
            "sha": one.sha,
            "private": one.private,
            "gated": "manual" if one.gated else False,
            "likes": one.likes,
            "downloads": one.downloads,
            "lastModified": moment(one.at),
            "createdAt": moment(one.at),
            "author": one.name.partition("/")[0],
            "usedStorage": size,
            "tags": [],
            "disabled": False,
            "siblings": [entry_of(path, data) for path, data in one.files.items()],
            **one.told,
        }
        if one.kind == "spaces":
            whole.pop("downloads")
        if wanted := self.asked.get("expand") or self.asked.get("expand[]"):
            return {key: value for key, value in whole.items() if key in {"id", "_id", *wanted}}
        return whole

    def info(self, kind: str, name: str, revision: str | None = None) -> None:
        if (one := self.repository(kind, name)) and (sha := self.commit_of(one, revision or "main")):
            siblings = [entry_of(path, data) for path, data in one.commits[sha].items()]
            self.say(self.about(one) | {"sha": sha, "siblings": siblings})

    def check(self, kind: str, name: str) -> None:
        if self.repository(kind, name):
            self.say({})

    def tree(self, kind: str, name: str, revision: str, folder: str | None = None) -> None:
        if (one := self.repository(kind, name)) and (sha := self.commit_of(one, revision)):
            files = one.commits[sha]
            deep = self.asked.get("recursive", [""])[0].lower() == "true"
            folders = {str(up) for path in files for up in PurePosixPath(path).parents if str(up) != "."}
            found = [file_of(path, data) for path, data in files.items() if inside(path, folder or "", deep)]
            found += [
                {"type": "directory", "path": path, "size": 0, "oid": "d" * 40}
                for path in sorted(folders)
                if inside(path, folder or "", deep)
            ]
            if found or not folder:
                self.say(found)
            else:
                self.refuse(404, "EntryNotFound")

    def paths(self, kind: str, name: str, revision: str) -> None:
        if (one := self.repository(kind, name)) and (sha := self.commit_of(one, revision)):
            told = json.loads(self.body) if self.body.startswith(b"{") else parse_qs(self.body.decode())
            files = one.commits[sha]
            self.say([file_of(path, files[path]) for path in told.get("paths", []) if path in files])

    def refs(self, kind: str, name: str) -> None:
        if one := self.repository(kind, name):
            main = {"name": "main", "ref": "refs/heads/main", "targetCommit": one.sha}
            tags = [
                {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": sha}
                for tag, sha in one.refs.items()
                if not tag.startswith("refs/")
            ]
            self.say({"branches": [main], "tags": tags, "converts": []})

    def commits(self, kind: str, name: str, _revision: str) -> None:
        if one := self.repository(kind, name):
            aside = {sha for ref, sha in one.refs.items() if ref.startswith("refs/")}
            on_main = [sha for sha in one.commits if sha not in aside]
            self.say(
                [
                    {"id": sha, "title": f"Commit {number}", "message": "", "date": moment(one.at), "authors": []}
                    for number, sha in reversed(list(enumerate(on_main)))
                ]
            )

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        one = self.repository((kind or "models/").rstrip("/"), name)
        if not one or not (sha := self.commit_of(one, revision)):
            return
        data = one.commits[sha].get(path)
        if data is None:
            return self.refuse(404, "EntryNotFound", more={"X-Repo-Commit": sha})
        told = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        if len(data) < LARGE:
            return self.send(data, told | {"ETag": f'"{hashes(data)[1]}"'})
        digest, _ = hashes(data)
        self.hub.objects[digest] = data
        told |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{digest}"', "ETag": f'"{digest}"'}
        self.say({}, 302, told | {"Location": f"{self.hub.store}/{digest}"})

    def large(self, digest: str) -> None:
        """The other host: it holds large files, for those who know their hash."""
        if self.command == "PUT":
            self.hub.objects[hashes(self.body)[0]] = self.body
            return self.say({})
        if digest not in self.hub.objects:
            return self.refuse(403, "")
        self.send(self.hub.objects[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    # -- writing ------------------------------------------------------------------------------------------------

    def create(self) -> None:
        told = json.loads(self.body)
        kind = {"model": "models", "dataset": "datasets", "space": "spaces"}[told.get("type") or "model"]
        if not self.who:
            return self.refuse(401, "", "Invalid username or password.")
        name = f"{told.get('organization') or self.who['name']}/{told['name']}"
        url = f"{self.hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if self.who["role"] == "read" or name.partition("/")[0] not in (self.who["name"], *self.who.get("orgs", ())):
            return self.refuse(403, "", "You don't have the rights to create here")
        if (kind, name) in self.hub.repositories:
            return self.say({"error": "You already created this repo", "url": url}, 409)
        more = {"told": {"sdk": told["sdk"]}} if told.get("sdk") else {}
        self.hub.add(kind, name, private=told.get("visibility") == "private" or bool(told.get("private")), **more)
        self.say({"url": url, "name": name, "id": "0" * 24})

    def delete(self) -> None:
        told = json.loads(self.body)
        name, kind = f"{told.get('organization') or self.who.get('name')}/{told['name']}", told.get("type") or "model"
        if self.repository(kind + "s", name, write=True):
            del self.hub.repositories[kind + "s", name]
            self.say({})

    def move(self) -> None:
        told = json.loads(self.body)
        kind, old, new = told.get("type", "model") + "s", told["fromRepo"], told["toRepo"]
        if one := self.repository(kind, old, write=True):
            if (kind, new) in self.hub.repositories:
                return self.refuse(409, "", "This name is taken")
            del self.hub.repositories[kind, old]
            one.name = new
            self.hub.repositories[kind, new] = one
            self.say({})

    def settings(self, kind: str, name: str) -> None:
        if one := self.repository(kind, name, write=True):
            told = json.loads(self.body)
            one.private = told.get("visibility", "private" if one.private else "public") == "private"
            self.say({"private": one.private})

    def preupload(self, kind: str, name: str, _revision: str) -> None:
        if self.repository(kind, name, write=True):
            files = json.loads(self.body)["files"]
            self.say(
                {
                    "files": [
                        {
                            "path": f["path"],
                            "uploadMode": "lfs" if f["size"] >= LARGE else "regular",
                            "shouldIgnore": False,
                            "oid": None,
                        }
                        for f in files
                    ]
                }
            )

    def batch(self, kind: str | None, name: str) -> None:
        if self.repository((kind or "models/").rstrip("/"), name, write=True):
            self.say(
                {
                    "transfer": "basic",
                    "objects": [
                        one
                        if one["oid"] in self.hub.objects
                        else one | {"actions": {"upload": {"href": f"{self.hub.store}/put"}}}
                        for one in json.loads(self.body)["objects"]
                    ],
                }
            )

    def commit(self, kind: str, name: str, _revision: str) -> None:
        if one := self.repository(kind, name, write=True):
            files = dict(one.files)
            for line in self.body.splitlines():
                told = json.loads(line)
                value, path = told["value"], told["value"].get("path", "")
                if told["key"] == "file":
                    files[path] = base64.b64decode(value["content"])
                elif told["key"] == "lfsFile":
                    files[path] = self.hub.objects[value["oid"]]
                elif told["key"] in ("deletedFile", "deletedFolder"):
                    files = {
                        held: data for held, data in files.items() if held != path and not held.startswith(path + "/")
                    }
            sha = one.commit(files)
            self.say({"commitUrl": f"{self.hub.url}/{name}/commit/{sha}", "commitOid": sha, "success": True})

    # -- below --------------------------------------------------------------------------------------------------

    def fine(self) -> None:
        self.say({"errors": [], "warnings": []})

    def space_hardware(self) -> None:
        from tests.localjobs import HARDWARE

        self.say([one | {"unitCostMicroUSD": 1, "unitLabel": "minute"} for one in HARDWARE])

    def upgrade(self, name: str) -> None:
        if one := self.repository("spaces", name, write=True):
            one.told["hardware"] = json.loads(self.body)
            self.say({"stage": "BUILDING", "hardware": {"current": None, "requested": one.told["hardware"]["flavor"]}})

    def job(self, path: str) -> None:
        if not self.who:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        self.hub.jobs.answer(self, path)

    def refuse(self, status: int, code: str, message: str = "", more: dict[str, str] | None = None) -> None:
        headers = {"X-Error-Code": code} | ({"X-Error-Message": message} if message else {}) | (more or {})
        self.say({"error": message or code}, status, headers)

    def say(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in ({"Content-Type": "application/json"} | (more or {})).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send(self, data: bytes, more: dict[str, str]) -> None:
        """A file, or the range of it that was asked for; cut short where that was ordered."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        size = len(data)
        self.send_response(206 if asked else 200)
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
            more = more | {"Content-Range": f"bytes {first}-{last}/{size}"}
            data = data[first : last + 1]
        for name, text in more.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cuts and len(data) > 1:
            self.wfile.write(data[: self.hub.cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self.hub.sent += len(data)
        for start in range(0, len(data), PIECE * 16):
            self.wfile.write(data[start : start + PIECE * 16])


_REPO = r"([^/]+/[^/]+)"
_API = rf"/api/(models|datasets|spaces)/{_REPO}"
ROUTES: tuple[tuple[str, Any], ...] = (
    (r"/", Handler.fine),
    (r"/api/whoami-v2", Handler.whoami),
    (r"/api/validate-yaml", Handler.fine),
    (r"/api/jobs/(.*)", Handler.job),
    (r"/api/repos/create", Handler.create),
    (r"/api/repos/delete", Handler.delete),
    (r"/api/repos/move", Handler.move),
    (r"/api/(models|datasets|spaces)", Handler.listing),
    (r"/api/spaces/hardware", Handler.space_hardware),
    (rf"/api/spaces/{_REPO}/hardware", Handler.upgrade),
    (_API + r"/settings", Handler.settings),
    (_API + r"/auth-check", Handler.check),
    (_API + r"/refs", Handler.refs),
    (_API + r"/commits/([^/]+)", Handler.commits),
    (_API + r"/paths-info/([^/]+)", Handler.paths),
    (_API + r"/preupload/([^/]+)", Handler.preupload),
    (_API + r"/commit/([^/]+)", Handler.commit),
    (_API + r"/tree/([^/]+)(?:/(.*))?", Handler.tree),
    (_API + r"(?:/revision/([^/]+))?", Handler.info),
    (rf"/(datasets/|spaces/)?{_REPO}\.git/info/lfs/objects/batch", Handler.batch),
    (rf"/(datasets/|spaces/)?{_REPO}/resolve/([^/]+)/(.*)", Handler.resolve),
)  # the first that fits


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


_HASHES: dict[int, tuple[bytes, str, str]] = {}  # by identity; as on the Hub, nothing is hashed twice


def hashes(data: bytes) -> tuple[str, str]:
    """(sha256, git's sha1) of a file."""
    held = _HASHES.get(id(data))
    if held is None or held[0] is not data:
        git = hashlib.sha1(b"blob %d\0" % len(data))
        git.update(data)
        held = _HASHES[id(data)] = (data, hashlib.sha256(data).hexdigest(), git.hexdigest())
    return held[1:]


def file_of(path: str, data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": hashes(data)[1]}
    if len(data) >= LARGE:
        found["lfs"] = {"oid": hashes(data)[0], "size": len(data), "pointerSize": 134}
    return found


def entry_of(path: str, data: bytes) -> dict[str, Any]:
    return {"rfilename": path, "size": len(data), "blobId": hashes(data)[1]}


def inside(path: str, folder: str, deep: bool) -> bool:
    parent = str(PurePosixPath(path).parent)
    parent = "" if parent == "." else parent
    return parent == folder or (deep and (not folder or parent.startswith(folder + "/")))


@contextmanager
def serving() -> Iterator[Hub]:
    """A Hub with two accounts: Ann, of whom there is a second sign-in that may only read, and Bob."""
    hub = Hub()
    web = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    web.daemon_threads = True
    port = web.server_address[1]
    hub.url, hub.store = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    hub.account(ANN, "ann", pro=True, can_pay=True)
    hub.account(BOB, "bob")
    hub.account(READER, "ann", "read")
    threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        _HASHES.clear()
        if hub.jobs:
            hub.jobs.close()
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
