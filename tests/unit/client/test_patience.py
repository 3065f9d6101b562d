"""What the client says again, how long it waits for that, and what it says once only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from stored_run import SPEC, store_run

from orchestrator import wire
from orchestrator.api import problems
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.patience import AWAY_SECONDS, BUSY_SECONDS, Passing, Patience, Wait
from orchestrator.errors import DatabaseError, QuotaError, ThrottledError, UnreachableError
from orchestrator.host import Host, open_host
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

Failure = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "tickets.jsonl").write_text('{"text": "It is late", "queue": "delivery"}\n' * 20)
    (tmp_path / "python").touch()
    variables = {"AXO_HOME": str(tmp_path), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    with open_host(Settings.from_environment(variables), lambda: 1_000.0) as opened:
        yield opened


class FailingTransport(EmbeddedTransport):
    """A way to the service on which the first requests fail, one failure each; `reached` tells whether the
    service has done what was asked before its answer is lost."""

    def __init__(self, app: Any, failures: Sequence[Failure], *, reached: bool = False) -> None:
        super().__init__(app)
        self.failures, self.reached, self.asked = list(failures), reached, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if not self.failures:
            return super().handle_request(request)
        if self.reached:
            super().handle_request(request).read()
        return self.failures.pop(0)(request)


def refusing(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def hanging_up(_: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")


def proxy_error(_: httpx.Request) -> httpx.Response:
    return httpx.Response(502, text="<html>Bad Gateway</html>", request=_)


def busy(request: httpx.Request) -> httpx.Response:
    return said_of(DatabaseError("the database is away"))(request)


def said_of(error: Exception) -> Failure:
    """What the service answers for an error, byte for byte."""

    def answer(request: httpx.Request) -> httpx.Response:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {"request_id": "r"}}
        told = problems.answer(problems.Request(scope), error)  # type: ignore[arg-type]
        headers = [*told.raw_headers, (b"x-request-id", b"r")]
        return httpx.Response(told.status_code, headers=headers, content=told.body, request=request)

    return answer


class Waits:
    """A client's waiting, without any: its pauses, and what it says of them."""

    def __init__(self, host: Host, *failures: Failure, reached: bool = False) -> None:
        self.pauses: list[float] = []
        self.told: list[str | None] = []
        self.way = FailingTransport(make_app(host.service, LOCAL), failures, reached=reached)
        self.client = Client(
            "http://embedded", transport=self.way, sleep=self.pauses.append, told=self.told.append
        )


@pytest.mark.parametrize("failure", [refusing, hanging_up, proxy_error, busy])
def test_what_passes_is_waited_for(host: Host, failure: Failure) -> None:
    store_run(Path(host.service.settings.home), "triage-aaaaa")
    waits = Waits(host, failure, failure)
    with waits.client as client:
        assert client.run("triage").id == "triage-aaaaa"
    assert len(waits.pauses) == 2
    assert waits.told[0] == waits.told[1] is not None
    assert waits.told[2:] == [None]


@pytest.mark.parametrize("failure", [hanging_up, busy])
def test_a_submission_whose_answer_was_lost_is_one_run(host: Host, failure: Failure) -> None:
    waits = Waits(host, failure, reached=True)
    with waits.client as client:
        run = client.submit(wire.Submission(spec=SPEC, base=str(host.service.settings.home)))
        assert [each.id for each in client.runs()] == [run.id]
    assert (run.continued, len(waits.pauses)) == (True, 1)


def test_a_key_is_made_once_or_not_at_all(host: Host) -> None:
    for failure, kind in ((hanging_up, UnreachableError), (busy, DatabaseError)):
        waits = Waits(host, failure)
        with waits.client as client, pytest.raises(kind):
            client.create_key("ci", "viewer")
        assert (waits.way.asked, waits.pauses) == (1, [])
    waits = Waits(host, refusing)
    with waits.client as client:
        client.create_key("ci", "viewer")
        assert len(client.keys()) == 1


def test_patience_ends(host: Host) -> None:
    for failure, kind, limit in (
        (refusing, UnreachableError, AWAY_SECONDS),
        (busy, DatabaseError, BUSY_SECONDS),
    ):
        waits = Waits(host, *[failure] * 100)
        with waits.client as client, pytest.raises(kind):
            client.run("triage")
        assert limit / 3 < sum(waits.pauses) <= limit
        assert waits.told.count(None) == 0


@pytest.mark.parametrize("error", [QuotaError(), ThrottledError()])
def test_what_time_does_not_mend_soon_is_said_at_once(host: Host, error: Exception) -> None:
    waits = Waits(host, *[said_of(error)] * 2)
    with waits.client as client, pytest.raises(type(error)):
        client.run("triage")
    assert waits.pauses == []


def test_more_patience_lasts_for_a_block() -> None:
    patience = Patience(sleep=lambda _: None)
    with patience.of(900):
        assert (patience.away, patience.busy) == (900, 900)
    assert (patience.away, patience.busy) == (AWAY_SECONDS, BUSY_SECONDS)


def test_pauses_grow_differ_and_are_as_long_as_was_asked_for() -> None:
    pauses: list[float] = []
    draws = iter([0.0, 1.0, 0.0, 0.0])
    wait = Wait(Patience(sleep=pauses.append, draw=lambda: next(draws)))
    for least in (0.0, 0.0, 7.0):
        wait.after(Passing(DatabaseError(), least))
    wait.over()
    wait.after(Passing(DatabaseError(), 0.0))
    assert pauses == [0.25, 0.75, 7.0, 0.25]
