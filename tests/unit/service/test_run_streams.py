"""Streams of a run: everything once and in order, on from where the reader stands, and free while idle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.to_thread import current_default_thread_limiter
from stored_run import store_run

from orchestrator import contract, wire
from orchestrator.api import streams
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.patience import FOLLOW_SECONDS
from orchestrator.controller.of_run import run_store
from orchestrator.db import Run
from orchestrator.errors import NotFoundError, UnreachableError
from orchestrator.host import Host, open_host
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.service import Caller
from orchestrator.settings import Settings


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return store_run(tmp_path, "triage-aaaaa", status=Status.TRAINING)


@pytest.fixture
def host(tmp_path: Path, run: Run) -> Iterator[Host]:
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)}), lambda: 1_000.0) as opened:
        yield opened


class CutTransport(EmbeddedTransport):
    """A way to the service that is cut after each event, for as many times as there are cuts."""

    def __init__(self, app: Any, cuts: int) -> None:
        super().__init__(app)
        self.cuts = cuts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.url.path.endswith("/stream") and self.cuts:
            self.cuts -= 1
            answer.stream = _Cut(answer.stream)  # type: ignore[arg-type]
        return answer


class _Cut(httpx.SyncByteStream):
    def __init__(self, whole: httpx.SyncByteStream) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        for part in self._whole:
            yield part
            if b"event: event" in part or b'"attempt":' in part:
                raise httpx.ReadError("cut")

    def close(self) -> None:
        self._whole.close()


class BytewiseTransport(EmbeddedTransport):
    """A way to the service on which every byte comes alone."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        answer.stream = _Bytewise(answer.stream)  # type: ignore[arg-type]
        return answer


class _Bytewise(httpx.SyncByteStream):
    def __init__(self, whole: httpx.SyncByteStream) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        return (bytes([byte]) for part in self._whole for byte in part)

    def close(self) -> None:
        self._whole.close()


def asking(host: Host, cuts: int = 0) -> Client:
    transport = CutTransport(make_app(host.service, Caller()), cuts)
    return Client("http://embedded", transport=transport, sleep=lambda _: None)


@pytest.mark.parametrize("cuts", [0, 1, 3])
def test_every_event_comes_once_and_in_order(host: Host, run: Run, cuts: int) -> None:
    database = host.service.database
    with asking(host, cuts) as client:
        told: list[wire.Event] = []
        standing: list[wire.Run] = []
        for change in client.follow(run.id):
            if isinstance(change, wire.Event):
                told.append(change)
                if change.status == "training":
                    moved = database.move(run, Status.PUBLISHING, None, "", 2_000.0)
                    database.move(moved, Status.SUCCEEDED, None, "", 2_001.0)
            elif change:
                standing.append(change)
        assert [event.status for event in told] == ["queued", "training", "publishing", "succeeded"]
        assert told == client.events(run.id)
        assert standing[-1].status is Status.SUCCEEDED


def test_a_reader_goes_on_after_the_event_that_it_has(host: Host, run: Run) -> None:
    host.service.database.move(run, Status.FAILED, Reason.CRASHED, "", 2_000.0)
    with asking(host) as client:
        first, *rest = client.events(run.id)
        found = [change for change in client.follow(run.id, first.id) if isinstance(change, wire.Event)]
        assert found == rest


def test_a_new_loss_is_told_without_an_event(host: Host, run: Run) -> None:
    losses = []
    with asking(host) as client:
        for change in client.follow(run.id):
            if isinstance(change, wire.Run):
                losses.append(change.loss)
                if len(losses) == 1:
                    host.service.database.update(run, loss=0.25)
                elif len(losses) == 2:
                    break
    assert losses == [1.0, 0.25]


@pytest.mark.parametrize("cuts", [0, 2])
def test_logs_are_followed_to_their_end(host: Host, run: Run, cuts: int) -> None:
    with asking(host, cuts) as client:
        text = ""
        for part in client.follow_logs(run.id):
            text += part.text
            if text.endswith("last words\n"):
                host.service.database.move(run, Status.FAILED, Reason.CRASHED, "", 2_000.0)
    assert text == "first words\nsecond words\nlast words\n"


def test_a_log_that_is_no_text_has_an_end(host: Host, run: Run) -> None:
    writer = contract.StreamWriter(run_store(run), 2, "log")
    writer.append(b"second words\nlast words\n" + b"\x80" * 600_000 + "é".encode() * 300_000)
    writer.flush()
    with asking(host) as client:
        told = [part for part in client.logs(run.id) if part.attempt == 2]
    assert sum(part.size for part in told) == writer.length
    assert "".join(part.text for part in told).endswith("é" * 300_000)


@pytest.mark.parametrize("way", [EmbeddedTransport, BytewiseTransport])
def test_what_else_ends_a_line_somewhere_stands_within_one(
    host: Host, run: Run, way: type[EmbeddedTransport]
) -> None:
    said = "".join(map(chr, (0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029))).join("first words")
    writer = contract.StreamWriter(run_store(run), 2, "log")
    writer.append(f"{said}\n".encode())
    writer.flush()
    host.service.database.move(run, Status.FAILED, Reason.CRASHED, said, 2_000.0)
    with Client("http://embedded", transport=way(make_app(host.service, Caller()))) as client:
        assert [part.text for part in client.logs(run.id) if part.attempt == 2] == [f"{said}\n"]
        assert [part.text for part in client.follow_logs(run.id) if part.attempt == 2] == [f"{said}\n"]
        told = [change for change in client.follow(run.id) if isinstance(change, wire.Event)]
    assert told[-1].message == said


def test_a_log_that_is_none_of_the_services_is_told() -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>Welcome</html>"))
    with (
        Client("http://axo.example", transport=page) as client,
        pytest.raises(UnreachableError, match="something that is not this service's"),
    ):
        list(client.logs("triage"))


def test_a_stream_shows_that_it_lives(host: Host, run: Run) -> None:
    with asking(host) as client:
        changes = client.follow(run.id, heartbeat=1.0)
        assert None in [next(changes) for _ in range(4)]
        changes.close()


def test_a_stream_ends_for_its_reader_to_prove_itself_anew(
    host: Host, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAM_SECONDS", 0.2)
    transport = EmbeddedTransport(make_app(host.service, Caller()))
    with httpx.Client(base_url="http://embedded/api/v1", transport=transport, timeout=30) as http:
        text = http.get(f"/runs/{run.id}/events/stream").text
    assert "event: run" in text
    assert "event: end" not in text


async def _free() -> None:
    """Return once no thread of the pool is at work."""
    limiter = current_default_thread_limiter()
    while limiter.borrowed_tokens:
        await asyncio.sleep(0.01)


def test_streams_that_wait_take_no_thread(host: Host, run: Run) -> None:
    app = make_app(host.service, Caller())
    transport = EmbeddedTransport(app)
    with httpx.Client(base_url="http://embedded/api/v1", transport=transport, timeout=60) as http:
        with ExitStack() as open_streams:
            for _ in range(100):  # more than there are threads
                answer = open_streams.enter_context(http.stream("GET", f"/runs/{run.id}/events/stream"))
                assert next(part for part in answer.iter_text() if "event: run" in part)
            asyncio.run_coroutine_threadsafe(_free(), transport._loop).result(30)
            assert len(app.state.streams.feed._watched[run.id]) == 100
            assert http.get("/runs").status_code == 200
        assert http.get("/runs").status_code == 200


def test_nobody_follows_what_is_not_theirs(host: Host, run: Run) -> None:
    with Client(
        "http://embedded", transport=EmbeddedTransport(make_app(host.service, Caller(project="theirs")))
    ) as other:
        for stream in (other.follow(run.id), other.follow_logs(run.id)):
            with pytest.raises(NotFoundError):
                next(stream)


def test_a_service_that_stays_away_is_said(host: Host, run: Run) -> None:
    pauses: list[float] = []
    away = Client("http://127.0.0.1:9", sleep=pauses.append)
    with away as client, pytest.raises(UnreachableError):
        list(client.follow(run.id))
    assert FOLLOW_SECONDS - 15 < sum(pauses) <= FOLLOW_SECONDS
