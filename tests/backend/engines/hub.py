"""A Hub of one model, on this machine: what `snapshot_download` asks for, over real HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The server's address and the names of files that were fetched, while it serves `folder` as the model `org/tiny`.

    As `org/large` its weights say that they have 100 TB. Names that begin with `gated` want a sign-in.
    """
    fetched: list[str] = []

    def inside(file: Path) -> str:
        return file.relative_to(folder).as_posix()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = next((one for one in ("org/tiny", "org/large") if one in path), "")
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            file = folder / path.partition("/resolve/")[2].partition("/")[2]
            if "gated" in path:
                self.answer(401, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            elif not name:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif "/tree/" in path:
                rows = [{"type": "file", "path": inside(f), "size": f.stat().st_size, "oid": oid(f)} for f in files]
                self.answer(200, json.dumps(rows).encode(), {"Content-Type": "application/json"})
            elif "/resolve/" not in path:
                model = {"id": name, "modelId": name, "sha": "a" * 40, "private": False, "tags": [], "siblings": []}
                self.answer(200, json.dumps(model).encode(), {"Content-Type": "application/json"})
            elif file in files:
                told = name == "org/large" and self.command == "HEAD" and file.suffix == ".safetensors"
                if self.command == "GET":
                    fetched.append(inside(file))
                tags = {"ETag": f'"{oid(file)}"', "X-Repo-Commit": "a" * 40}
                self.answer(200, file.read_bytes(), tags, 10**14 if told else None)
            else:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

        def answer(self, status: int, body: bytes, headers: dict[str, str], size: int | None = None) -> None:
            self.send_response(status)
            for header, value in headers.items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(body) if size is None else size))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.server_close()


def oid(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
