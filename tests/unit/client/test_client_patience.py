"""What the client says again, how long it waits for that, and what it says once only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from stored_run import SPEC, store_run

from orchestrator import wire
from orchestrator.api import problems
from orchestrator.api.app import make_app
from orchestrator.cli.shown import reason_of
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.patience import AWAY_SECONDS, BUSY_SECONDS, Passing, Patience, Wait
from orchestrator.errors import (
    ConflictError,
    DatabaseError,
    NotFoundError,
    QuotaError,
    ThrottledError,
    UnreachableError,
)
from orchestrator.host import Host, open_host
from orchestrator.runs import Intent, Status
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
        told = problems.answer(Request(scope), error)  # type: ignore[arg-type]
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


@pytest.fixture
def authority(tmp_path: Path) -> ssl.SSLContext:
    """TLS as nobody trusts it: a certificate that vouches for itself."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "2",
    ]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each connection gets an answer of the test's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def asked(url: str) -> tuple[UnreachableError, list[float]]:
    pauses: list[float] = []
    with Client(url, sleep=pauses.append) as client, pytest.raises(UnreachableError) as caught:
        client.run("triage")
    return caught.value, pauses


def test_a_wrong_scheme_and_a_certificate_that_is_not_trusted_are_told_at_once(
    authority: ssl.SSLContext,
) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    def secure(connection: socket.socket) -> None:
        authority.wrap_socket(connection, server_side=True)

    with listening(plain) as port:
        error, pauses = asked(f"https://127.0.0.1:{port}")
    assert ("try http://" in str(error.hint), pauses) == (True, [])
    with listening(secure) as port:
        error, pauses = asked(f"https://127.0.0.1:{port}")
    assert ("SSL_CERT_FILE" in str(error.hint), pauses) == (True, [])


def test_where_a_proxy_sends_on_to_is_told() -> None:
    def elsewhere(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(
            b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://axo.example/\r\nContent-Length: 0\r\n\r\n"
        )

    with listening(elsewhere) as port:
        error, _ = asked(f"http://127.0.0.1:{port}")
    assert "sends on to https://axo.example/" in str(error)


@pytest.mark.parametrize(
    "ask", [Client.machines, lambda client: client.run("r"), lambda client: client.verify("r")]
)
def test_an_answer_that_is_none_of_the_services_is_told(ask: Callable[[Client], object]) -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>Welcome</html>"))
    with (
        Client("http://axo.example", transport=page) as client,
        pytest.raises(UnreachableError, match="something that is not this service's") as caught,
    ):
        ask(client)
    assert "URL of the context" in str(caught.value.hint)


def test_a_reason_that_only_a_newer_service_knows_is_told_by_its_sentence(host: Host) -> None:
    run = store_run(Path(host.service.settings.home), "triage-aaaaa", status=Status.TRAINING)
    with Waits(host).client as client:
        told = client.run(run.id).model_dump(mode="json")
    newer = wire.Run.model_validate(
        {**told, "reason": "eclipsed", "sentence": "The moon is in the way.", "mood": 1}
    )
    assert (newer.reason, reason_of(newer)) == (None, "The moon is in the way.")
    assert reason_of(wire.Run.model_validate({**told, "reason": "quota", "sentence": "No."})) == "quota: No."


def mapping_of(client: Client) -> Callable[[], None]:
    client.put_mapping("answers", "text: body\n")
    return lambda: client.delete_mapping("answers")


def file_of(client: Client) -> Callable[[], None]:
    client.begin_file("a" * 64, 7)
    return lambda: client.delete_file("a" * 64)


def dataset_of(client: Client) -> Callable[[], None]:
    (held,) = client.datasets()
    return lambda: client.delete_dataset(held.digest)


@pytest.mark.parametrize("lost", [hanging_up, proxy_error])
@pytest.mark.parametrize("made", [mapping_of, file_of, dataset_of])
def test_a_deletion_whose_answer_was_lost_is_one(
    host: Host, made: Callable[[Client], Callable[[], None]], lost: Failure
) -> None:
    store_run(Path(host.service.settings.home), "triage-aaaaa")
    waits = Waits(host, reached=True)
    with waits.client as client:
        delete = made(client)
        waits.way.failures = [lost]
        delete()
        assert len(waits.pauses) == 1
        for failures in ([], [refusing], [busy]):
            waits.way.failures, waits.way.reached = list(failures), False
            with pytest.raises(NotFoundError):
                delete()


def test_a_cancellation_whose_answer_was_lost_is_one(host: Host) -> None:
    home = Path(host.service.settings.home)
    for run, status in (("a", Status.TRAINING), ("b", Status.CANCELLED), ("c", Status.SUCCEEDED)):
        store_run(home, f"triage-{run}", status=status)
    waits = Waits(host, hanging_up, reached=True)
    with waits.client as client:
        assert client.cancel("triage-a").intent is Intent.CANCEL
        waits.way.failures = [hanging_up]
        assert client.cancel("triage-b").status is Status.CANCELLED
        for run, failures in (("triage-b", []), ("triage-b", [refusing]), ("triage-c", [hanging_up])):
            waits.way.failures = list(failures)
            waits.way.reached = failures != [refusing]
            with pytest.raises(ConflictError, match="has ended"):
                client.cancel(run)
