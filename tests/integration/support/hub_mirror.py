"""A folder served in the hub's protocol: what its client asks for a data set or a model, and no more."""

from __future__ import annotations

import json
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def serve(folder: Path, token: str | None = None) -> ThreadingHTTPServer:
    """A server of `<folder>/<org>/<name>`, each with one commit; with a `token`, only for that."""

    class Mirror(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self._answer(body=True, asked=asked)

        def _answer(self, *, body: bool, asked: str = "") -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if token and self.headers.get("Authorization") != f"Bearer {token}":
                return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
            if parts[0] == "api" and parts[1] in ("datasets", "models"):
                return self._api(folder.joinpath(*parts[2:4]), parts[4:], asked, body)
            if parts[2:3] == ["resolve"]:  # of a model
                return self._file(folder.joinpath(*parts[:2]), parts[3], Path(*parts[4:]), body)
            if parts[0] == "datasets" and parts[3:4] == ["resolve"]:
                return self._file(folder.joinpath(*parts[1:3]), parts[4], Path(*parts[5:]), body)
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)

        def _api(self, repo: Path, rest: list[str], asked: str, body: bool) -> None:
            if not repo.is_dir():
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)
            if len(rest) > 1 and rest[1] not in ("main", COMMIT):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
            there = sorted(path.relative_to(repo) for path in repo.rglob("*"))
            if not rest or rest[0] == "revision":
                files = [{"rfilename": str(path)} for path in there if (repo / path).is_file()]
                about = dict.fromkeys(("private", "disabled", "gated"), False) | {"downloads": 0, "likes": 0}
                answer: Any = {"id": "/".join(repo.parts[-2:]), "sha": COMMIT, "siblings": files, **about}
                return self._json({"_id": "1", "tags": [], **answer}, body)
            if rest[0] == "paths-info":
                asked_for = parse_qs(asked)["paths"]
                return self._json([_entry(repo, path) for path in there if str(path) in asked_for], body)
            below = Path(*rest[2:])
            deep = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
            wanted = [path for path in there if (below in path.parents if deep else below == path.parent)]
            if not wanted:
                return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body)
            return self._json([_entry(repo, path) for path in wanted], body)

        def _file(self, repo: Path, revision: str, path: Path, body: bool) -> None:
            if not (repo / path).is_file() or revision not in ("main", COMMIT):
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, body)
            headers = {"ETag": f'"{_mark(repo / path)}"', "X-Repo-Commit": COMMIT}
            return self._send(200, (repo / path).read_bytes(), headers, body)

        def _json(self, answer: Any, body: bool) -> None:
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

    return ThreadingHTTPServer(("127.0.0.1", 0), Mirror)


def _entry(repo: Path, path: Path) -> dict[str, Any]:
    if (repo / path).is_dir():
        return {"type": "directory", "path": str(path), "oid": COMMIT, "size": 0}
    size = (repo / path).stat().st_size
    return {"type": "file", "path": str(path), "oid": _mark(repo / path), "size": size}


def _mark(path: Path) -> str:
    return sha1(path.read_bytes()).hexdigest()
