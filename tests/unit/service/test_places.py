"""However many slow requests come, probes and quick ones are answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from handled import Handler, handled
from memory_world import MemoryBackend
from serving import served

from orchestrator.api.app import make_app
from orchestrator.api.places import PLANS, Slow, place_for
from orchestrator.errors import ConflictError, StorageError, StorageRefusedError
from orchestrator.host import Host, open_host
from orchestrator.service import Caller, plans, storage
from orchestrator.service.storage import need_storage
from orchestrator.settings import Settings

THREADS = 40  # that all routes share
SPEC = """\
name: triage
base_model: org/base@0123abc
dataset: {source: "hf://org/rows"}
mapping: {messages: [{role: assistant, content: "{{ queue }}"}]}
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "python").touch()
    values = {"AXO_HOME": str(tmp_path / "server"), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    with open_host(Settings.from_environment(values), backend=MemoryBackend()) as opened:
        yield opened


@dataclass
class Hung:
    """Plans that are made until `over`; `begun` counts them."""

    begun: threading.Semaphore
    over: threading.Event

    def planned(self, *_: Any) -> dict[str, Any]:
        self.begun.release()
        self.over.wait(60)
        raise ConflictError("no more is planned")


def test_waiting_plans_leave_threads_to_everybody_else(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = Hung(threading.Semaphore(0), threading.Event())
    monkeypatch.setattr(plans, "_planned", hung.planned)
    app = make_app(host.service, Caller(operator=True))
    with served(app) as port, ThreadPoolExecutor(THREADS + 5) as askers:
        url = f"http://127.0.0.1:{port}"
        plan = partial(httpx.post, f"{url}/api/v1/plans", json={"spec": SPEC}, timeout=60)
        asked = [askers.submit(plan) for _ in range(THREADS + 5)]
        try:
            assert all(hung.begun.acquire(timeout=30) for _ in range(PLANS.most))
            for path in ("/healthz", "/readyz", "/api/v1/runs"):
                assert httpx.get(url + path, timeout=10).status_code == 200
            assert not hung.begun.acquire(blocking=False)
        finally:
            hung.over.set()
        assert {each.result().status_code for each in asked} == {409}


def test_probes_are_answered_though_every_thread_is_taken(host: Host) -> None:
    app = make_app(host.service, Caller())
    begun, over = threading.Semaphore(0), threading.Event()

    @app.get("/hang")
    def hang() -> None:
        begun.release()
        over.wait(60)

    with served(app) as port, ThreadPoolExecutor(THREADS) as askers:
        url = f"http://127.0.0.1:{port}"
        for _ in range(THREADS):
            askers.submit(httpx.get, f"{url}/hang", timeout=60)
        try:
            assert all(begun.acquire(timeout=30) for _ in range(THREADS))
            for path in ("/healthz", "/readyz"):
                assert httpx.get(url + path, timeout=10).status_code == 200
        finally:
            over.set()


def test_who_finds_no_place_is_told_to_come_again(host: Host) -> None:
    app = make_app(host.service, Caller())
    begun, over = threading.Event(), threading.Event()

    @app.get("/slow", dependencies=[place_for(Slow("slow things are done", 1, 0.05))])
    def slow() -> str:
        begun.set()
        over.wait(60)
        return "done"

    with served(app) as port, ThreadPoolExecutor(1) as askers:
        url = f"http://127.0.0.1:{port}/slow"
        first = askers.submit(httpx.get, url, timeout=60)
        assert begun.wait(30)
        refused = httpx.get(url, timeout=30)
        over.set()
        assert first.result().json() == "done"
        assert httpx.get(url, timeout=30).json() == "done", "a place that was left is free again"
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["error"]["message"] == "too many slow things are done now"


@contextmanager
def bucket_server(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], None]) -> Iterator[list[str]]:
    """A server of buckets that refuses every request, once `answer` lets it; the requests that it got."""
    heard: list[str] = []

    class Refusing(Handler):
        def do_PUT(self) -> None:
            heard.append(self.path)
            answer()
            self.send_error(403)

        do_GET = do_PUT

    with handled(Refusing) as address:
        for name, value in (
            ("AWS_ENDPOINT_URL", address),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
        ):
            monkeypatch.setenv(name, value)
        yield heard


def test_a_storage_that_failed_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"s3://axo-{uuid4().hex}/top"
    with bucket_server(monkeypatch, lambda: None) as heard:
        for _ in range(3):
            with pytest.raises(StorageRefusedError, match="storage cannot be used"):
                need_storage(url)
        assert len(heard) == 1
        monkeypatch.setattr(storage._proofs[url], "until", 0.0)
        with pytest.raises(StorageRefusedError):
            need_storage(url)
        assert len(heard) == 2


def test_nobody_waits_long_for_a_look_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    url, asked, over = f"s3://axo-{uuid4().hex}/top", threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        over.wait(60)

    monkeypatch.setattr(storage, "WAIT_SECONDS", 0.05)
    with bucket_server(monkeypatch, hang), ThreadPoolExecutor(1) as first:
        looking = first.submit(need_storage, url)
        assert asked.wait(30)
        try:
            with pytest.raises(StorageError, match="has not answered yet"):
                need_storage(url)
        finally:
            over.set()
        assert isinstance(looking.exception(30), StorageRefusedError)
