"""What a release pushes to a registry, and the digests that it says for the settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).parents[3]
NAMES = ("axo-service", "axo-trainer")


class Registry(ThreadingHTTPServer):
    """As much of a registry as a push needs: blobs and manifests by their digests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.held: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        found = self.server.held.get(self.path.rpartition("/")[2])
        self._answer(200 if found or self.path == "/v2/" else 404)

    do_GET = do_HEAD

    def do_POST(self) -> None:
        self._answer(202, f"{self.path.rstrip('/')}/{len(self.server.uploads)}")

    def do_PATCH(self) -> None:
        self.server.uploads[self.path] = self.server.uploads.get(self.path, b"") + self._body()
        self._answer(202, self.path, length=len(self.server.uploads[self.path]))

    def do_PUT(self) -> None:
        upload, _, _ = self.path.partition("?")
        content = self.server.uploads.get(upload, b"") + self._body()
        digest = f"sha256:{sha256(content).hexdigest()}"
        self.server.held[digest] = content
        self._answer(201, self.path, digest)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _answer(self, status: int, location: str = "", digest: str = "", length: int = 0) -> None:
        self.send_response(status)
        taken = f"0-{length - 1}" if length else ""
        for name, value in (("location", location), ("docker-content-digest", digest), ("range", taken)):
            if value:
                self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Tests read what is held instead."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        threading.Thread(target=registry.serve_forever, args=(0.02,), daemon=True).start()
        yield registry
        registry.shutdown()


def test_both_images_are_pushed_and_named_by_their_digests(engine: str, registry: Registry) -> None:
    address = f"127.0.0.1:{registry.server_port}"
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=120)) as client:
        for name in NAMES:
            client.load_image(image(f"{name}:test-push"))
        environment = {**os.environ, "DOCKER_HOST": engine, "AXO_TAG": "test-push"}
        command = [ROOT / "scripts/images", "push", address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        for name in [f"{place}{name}:test-push" for place in ("", f"{address}/") for name in NAMES]:
            with suppress(docker.errors.ImageNotFound):
                client.remove_image(name)
    assert done.returncode == 0, done.stderr
    told = dict(line.split("@") for line in done.stdout.split())
    assert list(told) == [f"{address}/{name}" for name in NAMES]
    for digest in told.values():
        config = re.search(rb'"config":\s*{[^}]*"(sha256:\w+)"', registry.held[digest])
        assert config
        assert config[1].decode() in registry.held


def image(name: str) -> bytes:
    """One of a single file, which says its name."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from node import oci
    finally:
        sys.path.pop(0)
    return oci.archive(name, [oci.layer({"/name": name.encode()})], {})
