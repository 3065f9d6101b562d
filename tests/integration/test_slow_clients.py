"""Clients that dawdle, at a real server: each is cut off in its time, costs little, and holds nobody up."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from serving import Server, serving
from stored_run import store_run

from orchestrator import contract, wire
from orchestrator.api.bounds import BODY_SECONDS
from orchestrator.api.patience import HEAD_SECONDS, TAKE_SECONDS, WANTED_FILES
from orchestrator.controller.of_run import run_store
from orchestrator.db import opened
from orchestrator.db import tables as t
from orchestrator.runs import Status

RUN = "triage-aaaaa"
FILES = 1024  # of the server: a quarter of them is for connections
CROWD = 2000
READERS = 30  # of each stream, which together are more than the server has threads for requests
LATE_SECONDS = 8.0  # that a busy machine may add
ANSWER_SECONDS = 4.0  # in which everybody else is answered; whoever waits for the crowd to go waits ten
MOST_MIB_EACH = 2.0  # of a reader who takes nothing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a run that has more events and more of a log than any buffer holds."""
    home = tmp_path_factory.mktemp("home")
    run = store_run(home, RUN, status=Status.TRAINING)
    event = {"run": RUN, "time": 1.0, "status": "training", "reason": None, "message": "x" * 2_000}
    with opened(f"sqlite:///{home / 'axo.db'}") as database, database.writing() as connection:
        connection.execute(t.events.insert(), [event] * 5_000)
    writer = contract.StreamWriter(run_store(run), 2, "log")
    writer.append(b"words without end\n" * 1_000_000)
    writer.flush()
    with few_files(256), serving(home) as server:
        yield server


@contextmanager
def few_files(soft: int) -> Iterator[None]:
    """What is started meanwhile may open that many files, unless it asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect(server: Server, stack: ExitStack) -> socket.socket:
    url = httpx.URL(server.url)
    return stack.enter_context(socket.create_connection((url.host, url.port), timeout=60))


def asked(server: Server, stack: ExitStack, stream: str) -> socket.socket:
    """A connection that has asked for a stream, and takes none of it."""
    url = httpx.URL(server.url)
    reader = stack.enter_context(socket.socket())
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((url.host, url.port))
    reader.sendall(f"GET /api/v1/runs/{RUN}/{stream} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader


def happened(connection: socket.socket, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(seconds * 1000))


def is_cut(connection: socket.socket, seconds: float = 0.0) -> bool:
    """Whether the other side has let go of it; nothing of what it sent is taken to find out."""
    return happened(connection, select.POLLRDHUP, seconds)


def trickled(connection: socket.socket, text: bytes) -> tuple[float, bytes]:
    """Send a text a byte at a time, for as long as it is taken: how long that was, and the answer."""
    began, answer = time.monotonic(), b""
    for byte in text:
        if happened(connection, select.POLLIN, 0.25):
            break
        connection.sendall(bytes([byte]))
    while piece := connection.recv(1 << 16):
        answer += piece
    return time.monotonic() - began, answer


def answered(server: Server) -> float:
    """How long somebody waits who comes anew, asks and reads."""
    began = time.monotonic()
    assert httpx.get(f"{server.url}/api/v1/runs/{RUN}", timeout=ANSWER_SECONDS).json()["id"] == RUN
    return time.monotonic() - began


def test_slow_clients_are_cut_off_and_cost_others_nothing(server: Server) -> None:
    memory = server.peak_mib
    with few_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]), ExitStack() as stack:
        allowed, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
        readers = [
            asked(server, stack, stream)
            for stream in ("events/stream", "logs/stream", "logs")
            for _ in range(READERS)
        ]
        began = time.monotonic()
        others = [answered(server) for _ in range(20)]
        assert not any(map(is_cut, readers)), "they had no time yet"
        crowd = [connect(server, stack) for _ in range(CROWD)]
        others += [answered(server) for _ in range(20)]
        assert not any(map(is_cut, readers)), "those who asked stay; those who say nothing go"
        with ThreadPoolExecutor(2) as pool:
            head = pool.submit(trickled, connect(server, stack), b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 500)
            body = pool.submit(trickled, begun(connect(server, stack)), b'{"spec": "' + b"x" * 500)
            while not all(map(is_cut, readers)):
                assert time.monotonic() - began < TAKE_SECONDS + LATE_SECONDS
                others.append(answered(server))
                time.sleep(0.2)
            while not (head.done() and body.done()):
                others.append(answered(server))
                time.sleep(0.2)
        assert all(is_cut(each, LATE_SECONDS) for each in crowd)
        assert HEAD_SECONDS - 1 < head.result()[0] < HEAD_SECONDS + LATE_SECONDS
        assert BODY_SECONDS - 1 < body.result()[0] < BODY_SECONDS + LATE_SECONDS
    assert "out of system resource" not in server.log.read_text()
    assert said(body.result()[1]) == (408, "slow")
    assert head.result()[1] == b""
    assert server.peak_mib - memory < len(readers) * MOST_MIB_EACH
    assert allowed >= min(WANTED_FILES, hard), "it had asked for the files that it needs"


def begun(connection: socket.socket) -> socket.socket:
    """A connection on which the head of a submission was sent."""
    head = "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
    return connection


def said(answer: bytes) -> tuple[int, str]:
    """The status of an answer, and the code of the problem that is its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), wire.ProblemBody.model_validate_json(body).error.code
