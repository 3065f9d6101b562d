"""What we say to a cluster and hear from it, through the Kubernetes client, over a real connection.

The suite runs with the installed client, and once more with the older major version that we also take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from orchestrator.backends import BackendAway, BackendFull
from orchestrator.backends.kubernetes.api import AlreadyThere, Api, NotThere
from orchestrator.errors import BackendError

ROOT = Path(__file__).parents[2]
JOBS = "/apis/batch/v1/namespaces/training/jobs"


class Server(ThreadingHTTPServer):
    """Answers as the test says, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.answer = 200, b"{}"
        self.asked: list[tuple[str, str, Any]] = []
        self.media: list[str | None] = []
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, body))
        self.server.media.append(self.headers.get("content-type"))
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        watch, answer = "watch=true" in self.path, self.server.answer
        if watch:
            self.send_header("transfer-encoding", "chunked")
            answer = b"%x\r\n%s\r\n" % (len(answer), answer)
        else:
            self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.wfile.flush()
        if watch:
            self.server.over.wait(30)
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Tests read what was asked instead."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    api = Api()
    yield api
    api.close()


def test_a_kubeconfig_that_cannot_be_read_is_told_as_a_cluster_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    with pytest.raises(BackendAway, match="the cluster does not answer"):
        Api().get(JOBS)


def test_a_change_is_merged_into_the_object_that_is_meant(server: Server, api: Api) -> None:
    note = {"metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"a": "b"}}}
    api.change(f"{JOBS}/run-a-1", note)
    assert server.asked == [("PATCH", f"{JOBS}/run-a-1", note)]
    assert server.media == ["application/merge-patch+json"]


def test_a_manifest_is_sent_and_answered_as_it_is(server: Server, api: Api) -> None:
    """Also what a model of the client would refuse: fields it does not know, counts that are numbers."""
    job = {
        "kind": "Job",
        "metadata": {"name": "a"},
        "spec": {"new": [1, None], "limits": {"nvidia.com/gpu": 1}},
    }
    server.answer = json.dumps(job).encode()
    assert api.create(JOBS, job, dryRun="All") == job
    assert server.asked == [("POST", f"{JOBS}?dryRun=All", job)]


def test_a_list_is_asked_for_by_label(server: Server, api: Api) -> None:
    server.answer = b'{"items": [{"metadata": {"name": "a"}}]}'
    assert [each["metadata"]["name"] for each in api.get(JOBS, labelSelector="axo/run=a")["items"]] == ["a"]
    assert unquote(server.asked[0][1]) == f"{JOBS}?labelSelector=axo/run=a"


def test_only_the_very_object_is_removed(server: Server, api: Api) -> None:
    api.delete(f"{JOBS}/a", "the-uid", "Foreground")
    (asked,) = server.asked
    assert asked[:2] == ("DELETE", f"{JOBS}/a")
    assert asked[2] == {"propagationPolicy": "Foreground", "preconditions": {"uid": "the-uid"}}


def test_logs_are_text_whatever_their_bytes(server: Server, api: Api) -> None:
    server.answer = "größer\n".encode() + b"\xff\n"
    assert api.text("/api/v1/namespaces/training/pods/p/log") == "größer\n\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotThere),
        (409, AlreadyThere),
        (401, BackendAway),
        (429, BackendAway),
        (500, BackendAway),
        (503, BackendAway),
        (403, BackendError),
        (422, BackendError),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(
    server: Server, api: Api, status: int, kind: type[BackendError]
) -> None:
    server.status, server.answer = status, b'{"kind": "Status", "message": "the words of the server"}'
    with pytest.raises(BackendError, match="the words of the server") as refused:
        api.get(JOBS)
    assert type(refused.value) is kind


def test_a_namespace_on_its_way_out_is_as_good_as_gone(server: Server, api: Api) -> None:
    words = "jobs is forbidden: unable to create new content in namespace a because it is being terminated"
    server.status, server.answer = 403, json.dumps({"kind": "Status", "message": words}).encode()
    with pytest.raises(NotThere, match="being terminated"):
        api.create(JOBS, {})


def test_a_right_that_is_missing_may_be_given(server: Server, api: Api) -> None:
    """Or the namespace is gone, and the right with it; whoever lacks it is not told which."""
    words = 'jobs.batch is forbidden: User "axo" cannot create resource "jobs" in the namespace "a"'
    server.status, server.answer = 403, json.dumps({"kind": "Status", "message": words}).encode()
    with pytest.raises(BackendAway, match="does not let us ask") as refused:
        api.create(JOBS, {})
    assert "k8s/access.yaml" in str(refused.value.hint)


def test_a_quota_that_is_used_up_may_have_room_later(server: Server, api: Api) -> None:
    words = (
        'jobs.batch "a" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, '
        "used: count/jobs.batch=2, limited: count/jobs.batch=2"
    )
    server.status, server.answer = 403, json.dumps({"kind": "Status", "message": words}).encode()
    with pytest.raises(BackendFull, match="exceeded quota: few"):
        api.create(JOBS, {})


def test_nobody_listening_is_no_answer(server: Server, api: Api) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(BackendAway, match="does not answer"):
        api.get(JOBS)


def test_a_connection_that_falls_silent_is_found_out(server: Server, api: Api) -> None:
    """Half open: whoever spoke is gone, and the connection does not know."""
    server.answer = b'{"type": "ADDED"}\n{"type": "MOD'
    stream = api.stream(JOBS, 0.5, watch="true")
    assert [next(stream), next(stream)] == [b"", b'{"type": "ADDED"}']
    began = time.monotonic()
    with pytest.raises(BackendAway, match="the watch broke"):
        next(stream)
    assert 0.4 < time.monotonic() - began < 5


def test_the_older_client_does_the_same() -> None:
    if os.environ.get("AXO_OLDER_CLIENT"):
        import kubernetes

        assert kubernetes.__version__.startswith("36.")
        return
    setup = [ROOT / "scripts/setup", "kubernetes-36"]
    folder = subprocess.run(setup, check=True, capture_output=True, text=True).stdout.strip()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "PYTHONPATH": folder, "AXO_OLDER_CLIENT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
