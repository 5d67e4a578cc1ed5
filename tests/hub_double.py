"""A double of the Hub's read protocol over loopback: enough for the real client to fetch models and data sets.

It proves what our side asks for and how it takes answers, not what the Hub itself does.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubDouble:
    """Folders served as repositories: `repos["models/org/name"]` and `repos["datasets/org/name"]`."""

    def __init__(self, repos: dict[str, Path]) -> None:
        self.repos = repos
        self.requests: list[str] = []
        self.endpoint = ""

    def files(self, repo: str) -> dict[str, Path]:
        root = self.repos[repo]
        return {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[HubDouble]:
    """A running double."""
    double = HubDouble(repos)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = self.rfile.read(length)
            double.requests.append(f"POST {self.path}")
            found = _paths_info(double, unquote(urlsplit(self.path).path), asked)
            self._send(200 if found is not None else 404, json.dumps(found or {}).encode(), {}, body=True)

        def _answer(self, *, body: bool) -> None:
            double.requests.append(f"{self.command} {self.path}")
            path = unquote(urlsplit(self.path).path)
            file = _resolved(double, path)
            if file is not None:
                content = file.read_bytes()
                etag = hashlib.sha256(content).hexdigest()
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
                self._send(200, content, headers, body=body)
                return
            found = _described(double, path)
            if found is None:
                known = any(f"/{repo.removeprefix('models/')}/" in f"{path}/" for repo in double.repos)
                code = "EntryNotFound" if known else "RepoNotFound"
                self._send(404, b"{}", {"X-Error-Code": code, "X-Repo-Commit": COMMIT}, body=body)
                return
            self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body=body)

        def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _resolved(double: HubDouble, path: str) -> Path | None:
    """The file behind `/[datasets/]org/name/resolve/<revision>/<file>`."""
    for repo in double.repos:
        prefix = f"/{repo.removeprefix('models/')}/resolve/"
        if path.startswith(prefix):
            return double.files(repo).get(path.removeprefix(prefix).partition("/")[2])
    return None


def _described(double: HubDouble, path: str) -> object | None:
    """The answer of `/api/<kind>/org/name[/revision/<revision> | /tree/<revision>[/folder]]`."""
    for repo in double.repos:
        prefix = f"/api/{repo}"
        if path != prefix and not path.startswith(f"{prefix}/"):
            continue
        rest = path.removeprefix(prefix).strip("/")
        files = double.files(repo)
        if rest.startswith("tree/"):
            folder = rest.removeprefix("tree/").partition("/")[2]
            return _tree(files, folder)
        if not rest or rest.startswith("revision/"):
            siblings = [{"rfilename": name} for name in files]
            name = repo.partition("/")[2]
            return {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0}
    return None


def _tree(files: dict[str, Path], folder: str) -> list[object] | None:
    """All files and folders below a folder (a client that asked for one level takes the rest in its stride)."""
    start = f"{folder}/" if folder else ""
    inside = {name: file for name, file in files.items() if name.startswith(start)}
    if not inside:
        return None
    folders = {parent.as_posix() for name in inside for parent in Path(name).parents if parent.parts}
    below = sorted(name for name in folders if name.startswith(start) and name != folder)
    listed: list[object] = [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in below]
    return listed + [_entry(name, file) for name, file in inside.items()]


def _paths_info(double: HubDouble, path: str, asked: bytes) -> list[object] | None:
    for repo in double.repos:
        if path.startswith(f"/api/{repo}/paths-info/"):
            try:
                wanted = json.loads(asked)["paths"]
            except ValueError:
                from urllib.parse import parse_qs

                wanted = parse_qs(asked.decode())["paths"]
            files = double.files(repo)
            return [_entry(name, files[name]) for name in wanted if name in files]
    return None


def _entry(name: str, file: Path) -> dict[str, object]:
    oid = hashlib.sha1(file.read_bytes()).hexdigest()
    return {"type": "file", "path": name, "size": file.stat().st_size, "oid": oid}
