"""Connections between two requests: kept for longer than proxies keep theirs, and held against nobody."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn

from orchestrator.api import patience
from orchestrator.api.patience import PatientProtocol
from orchestrator.api.server import http_config

PROXY_SECONDS = 60.0  # that nginx and the load balancers of the clouds keep an idle connection
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving_alone() -> Iterator[tuple[uvicorn.Server, threading.Thread, int]]:
    server = uvicorn.Server(http_config(application))
    server.config.lifespan = "off"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield server, thread, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def kept(port: int, stack: ExitStack) -> socket.socket:
    """A connection on which something was asked and answered."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
    connection.sendall(ASK)
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 204")
    return connection


async def seconds_left(connection: PatientProtocol) -> float:
    assert connection.idle
    assert connection.timeout_keep_alive_task is not None
    return connection.timeout_keep_alive_task.when() - connection.loop.time()


def is_cut(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(30_000))


def test_a_connection_outlasts_a_proxys_idea_of_it() -> None:
    with serving_alone() as (server, _, port), ExitStack() as stack:
        connection = kept(port, stack)
        (held,) = server.server_state.connections
        assert isinstance(held, PatientProtocol)
        left = asyncio.run_coroutine_threadsafe(seconds_left(held), held.loop).result(30)
        assert left > PROXY_SECONDS + 5
        connection.sendall(ASK)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 204")


def test_connections_that_wait_hold_up_no_end() -> None:
    with serving_alone() as (server, thread, port), ExitStack() as stack:
        connections = [kept(port, stack) for _ in range(20)]
        began = time.monotonic()
        server.should_exit = True
        thread.join(30)
        assert time.monotonic() - began < 10
        assert all(map(is_cut, connections))


def test_connections_that_wait_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_CONNECTIONS", 5)
    with serving_alone() as (server, _, port), ExitStack() as stack:
        connections = [kept(port, stack) for _ in range(10)]
        assert all(map(is_cut, connections[:5]))
        assert len(server.server_state.connections) == 5
