"""A double of the Hub's read protocol over loopback: enough for the real client to fetch models and data sets.

It proves what our side asks for and how it takes answers, not what the Hub itself does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
        self.sent: Counter[str] = Counter()
        """How many bytes of each file were sent, by its name without folders."""
        self.refused: dict[str, tuple[int, str]] = {}
        """Parts of paths that are not answered: the status, and the Hub's word for why."""

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
            for part, (status, code) in double.refused.items():
                if part in path:
                    headers = {"X-Error-Code": code, "X-Repo-Commit": COMMIT} if code else {}
                    self._send(status, b'{"error": "no"}', headers, body=body)
                    return
            file = _resolved(double, path)
            if file is not None:
                content = file.read_bytes()
                etag = hashlib.sha256(content).hexdigest()
                headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                if asked is not None:
                    first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
                    double.sent[file.name] += last + 1 - first
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                    self._send(206, content[first : last + 1], headers, body=body)
                    return
                double.sent[file.name] += len(content) * body
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

    with _listening(Handler) as double.endpoint:
        yield double


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which a handler answers meanwhile."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
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


# --- a double that can be written to ---------------------------------------------------------------------------------


@dataclass
class Repository:
    """Commits of one repository, newest last: files by name."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add({".gitattributes": b""})

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> dict[str, bytes] | None:
        if revision == "main":
            return self.files
        return next((files for name, files in self.commits if name == revision), None)

    def add(self, files: dict[str, bytes]) -> str:
        seed = f"{len(self.commits)}{sorted((n, hashlib.sha1(c).hexdigest()) for n, c in files.items())}"
        self.commits.append((hashlib.sha1(seed.encode()).hexdigest(), files))
        return self.head


class WritableHub:
    """The Hub's write protocol, as far as the real client speaks it for a model: making a repository, one commit with
    small files in it and large ones beside it, reading it back. It fails on command.

    `faults` holds (part of "METHOD path", what happens) in turn, each used once: a status, `drop` (the connection is
    closed before anything is done), `lose` (it is closed after all was done), or a function that is called first.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: list[tuple[str, object]] = []
        self.requests: list[str] = []
        self.endpoint = ""
        self.role = "write"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object, dict[str, str]]:
        """Status, content (bytes, or what becomes JSON) and headers."""
        if path == "/api/whoami-v2":
            token = {"role": self.role}
            return 200, {"name": "me", "orgs": [], "auth": {"accessToken": token}}, {}
        if path == "/api/validate-yaml":
            if "license: nonsense" in json.loads(body)["content"]:
                return 400, {"errors": [{"message": '"license" must be one of [apache-2.0, mit, ...]'}]}, {}
            return 200, {"errors": [], "warnings": []}, {}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            exists = name in self.repos
            if not exists:
                self.repos[name] = Repository(bool(asked.get("private")) or asked.get("visibility") == "private")
            return (409 if exists else 200), {"url": f"{self.endpoint}/{name}"}, {}
        if path.startswith("/lfs/"):
            self.blobs[path.removeprefix("/lfs/")] = body
            return 200, {}, {}
        for name, repo in self.repos.items():
            if path.startswith((f"/api/models/{name}", f"/{name}/", f"/{name}.git")):
                return self._of(repo, name, path, body)
        return 404, {}, {"X-Error-Code": "RepoNotFound"}

    def _of(self, repo: Repository, name: str, path: str, body: bytes) -> tuple[int, object, dict[str, str]]:
        rest = path.removeprefix(f"/api/models/{name}").strip("/")
        if path == f"/{name}.git/info/lfs/objects/batch":
            objects = json.loads(body)["objects"]
            made = [{**one, "actions": {"upload": {"href": f"{self.endpoint}/lfs/{one['oid']}"}}} for one in objects]
            return 200, {"transfer": "basic", "objects": made}, {}
        if path.startswith(f"/{name}/resolve/"):
            revision, _, file = path.removeprefix(f"/{name}/resolve/").partition("/")
            files = repo.at(revision)
            if files is None or file not in files:
                return 404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.head}
            etag = hashlib.sha256(files[file]).hexdigest()
            commit = repo.head if revision == "main" else revision
            return 200, files[file], {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if rest.startswith("preupload/"):
            wanted = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False} for f in wanted]
            return 200, {"files": modes}, {}
        if rest.startswith("commit/"):
            return self._commit(repo, name, body)
        revision = rest.removeprefix("tree/").partition("/")[0] if rest.startswith("tree/") else "main"
        revision = rest.removeprefix("revision/") if rest.startswith("revision/") else revision
        files = repo.at(revision)
        if files is None:
            return 404, {}, {"X-Error-Code": "RevisionNotFound"}
        if rest.startswith("tree/"):
            oids = {file: hashlib.sha1(content).hexdigest() for file, content in files.items()}
            listed = [
                {"type": "file", "path": file, "size": len(files[file]), "oid": oid} for file, oid in oids.items()
            ]
            return 200, listed, {}
        sha = repo.head if revision == "main" else revision
        siblings = [{"rfilename": file} for file in files]
        return 200, {"id": name, "sha": sha, "siblings": siblings, "private": repo.private, "tags": []}, {}

    def _commit(self, repo: Repository, name: str, body: bytes) -> tuple[int, object, dict[str, str]]:
        files = dict(repo.files)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit") not in (None, repo.head):
                return 412, {"error": "A commit has happened since."}, {}
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
        made = repo.add(files)
        return 200, {"success": True, "commitOid": made, "commitUrl": f"{self.endpoint}/{name}/commit/{made}"}, {}

    def fault(self, request: str) -> object | None:
        """What happens to a request, if something does."""
        for place, (part, what) in enumerate(self.faults):
            if part in request:
                del self.faults[place]
                return what
        return None


def _mode(name: str) -> str:
    return "lfs" if name.endswith((".safetensors", ".png")) else "regular"


@contextmanager
def serve_writable() -> Iterator[WritableHub]:
    """A running double that can be written to."""
    hub = WritableHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self._body()
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            what = hub.fault(f"{self.command} {path}")
            if callable(what):
                what()
            if what == "drop":
                self.close_connection = True
                return
            status, content, headers = (what, {}, {}) if isinstance(what, int) else hub.answer(self.command, path, body)
            if what == "lose":
                self.close_connection = True
                return
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            for name, value in {"Content-Type": kind, "Content-Length": str(len(sent)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with _listening(Handler) as hub.endpoint:
        yield hub
