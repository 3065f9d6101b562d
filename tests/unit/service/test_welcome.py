"""A stream ends soon after its asker's credential does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stored_run import store_run

from orchestrator import wire
from orchestrator.api import welcome
from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import Access, Caller
from orchestrator.settings import Settings


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    store_run(tmp_path, "triage-aaaaa", status=Status.TRAINING)
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
        yield host


@pytest.mark.parametrize("stream", ["events/stream", "logs/stream"])
def test_a_stream_ends_when_its_key_is_revoked(
    host: Host, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(welcome, "AGAIN_SECONDS", 0.05)
    keys = host.service.keys
    key = keys.create(Caller(), wire.KeyAsked(name="looker", role="viewer"))
    app = make_app(host.service, Access(host.service.database, time.time))
    begun = threading.Event()

    def revoke() -> None:
        begun.wait(10)
        keys.revoke(Caller(), key.id)

    revoking = threading.Thread(target=revoke)
    revoking.start()
    headers = {"Authorization": f"Bearer {key.key}"}
    with httpx.Client(base_url="http://embedded", transport=EmbeddedTransport(app), headers=headers) as http:
        with http.stream("GET", f"/api/v1/runs/triage-aaaaa/{stream}") as answer:
            assert answer.status_code == 200
            told = ""
            for text in answer.iter_text():
                told += text
                begun.set()
        assert "triage" in told or "words" in told
        assert "event: end" not in told
        assert http.get("/api/v1/runs").status_code == 401
    revoking.join()


def test_an_answer_that_takes_long_is_not_cut_while_its_key_is_good(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(welcome, "AGAIN_SECONDS", 0.01)
    key = host.service.keys.create(Caller(), wire.KeyAsked(name="looker", role="viewer"))
    access = Access(host.service.database, time.time)
    looks = threading.Semaphore(0)
    ask = access.caller

    def counted(*arguments: str | None) -> Caller:
        looks.release()
        return ask(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(access, "caller", counted)
    headers = {"Authorization": f"Bearer {key.key}"}
    transport = EmbeddedTransport(make_app(host.service, access))
    with (
        httpx.Client(base_url="http://embedded", transport=transport, headers=headers) as http,
        http.stream("GET", "/api/v1/runs/triage-aaaaa/events/stream") as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        assert all(looks.acquire(timeout=10) for _ in range(5))
        host.service.runs.want(Caller(), "triage-aaaaa", host.service.database.run("triage-aaaaa").intent)
        assert any(line.startswith("event: run") for line in lines)
