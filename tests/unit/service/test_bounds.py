"""Requests made to cost the service dearly are refused, in little memory and with the one error body."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from hostile import BOMBS
from serving import Server, serving
from waiting import wait

from orchestrator import wire
from orchestrator.api.bounds import MAX_BODY_BYTES, PARTS_AT_ONCE, Bounds
from orchestrator.db import Database, opened

MOST_MIB = 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(server: Server, name: str) -> None:
    before = server.peak_mib
    answer = BOMBS[name].send(server.url)
    problem = wire.ProblemBody.model_validate_json(answer.content).error
    assert answer.status_code in (400, 404, 413, 422)
    assert problem.request_id == answer.headers["x-request-id"]
    assert len(answer.content) < 300_000
    assert server.peak_mib - before <= MOST_MIB


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/%00", 422),
        ("/runs?name=%00", 422),
        ("/runs?cursor=nonsense", 422),
        ("/runs?cursor=1.2.3:x", 404),
        ("/runs?limit=1e9", 422),
        ("/runs?status=nonsense", 422),
        (f"/runs/{'a' * 50_000}", 422),
        (f"/runs/x/events?after={10**30}", 422),
        ("/runs/..%2f..%2fetc", 404),
    ],
)
def test_an_address_made_up_is_the_askers_fault(server: Server, path: str, status: int) -> None:
    answer = httpx.get(f"{server.url}/api/v1{path}")
    assert answer.status_code == status, answer.text
    assert wire.ProblemBody.model_validate_json(answer.content).error.message


def test_a_head_that_dawdles_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        assert connection.recv(100) == b""
        assert time.monotonic() - began > 5
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_a_body_that_dawdles_is_refused() -> None:
    async def never() -> dict[str, object]:
        return await asyncio.Future()

    async def read(scope: object, receive: object, send: object) -> None:
        await receive()  # type: ignore[operator]

    scope = {"type": "http", "path": "/", "headers": []}
    with pytest.raises(Exception, match=r"did not arrive within 0\.01 seconds"):
        asyncio.run(Bounds(read, seconds=0.01)(scope, never, never))  # type: ignore[arg-type]


def test_parts_of_files_that_dawdle_are_not_many(server: Server) -> None:
    url = httpx.URL(server.url)
    part = f"/api/v1/files/{'a' * 64}/parts/0"
    head = f"PUT {part} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\nbegun"
    with ExitStack() as stack:
        for _ in range(PARTS_AT_ONCE):
            slow = stack.enter_context(socket.create_connection((url.host, url.port or 0)))
            slow.sendall(head.encode())
        answer = wait(lambda: _if_busy(httpx.put(f"{server.url}{part}", content=b"x")))
        assert answer.headers["retry-after"] == "5"
        assert httpx.get(f"{server.url}/api/v1/runs").status_code == 200
    wait(lambda: httpx.put(f"{server.url}{part}", content=b"x").status_code == 404)  # it is looked for again


def _if_busy(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 429 else None


def test_a_body_counts_as_it_comes_where_nobody_announced_its_size(server: Server) -> None:
    parts = (b" " * 100_000 for _ in range(2 + MAX_BODY_BYTES // 100_000))
    answer = httpx.post(f"{server.url}/api/v1/runs", content=parts)
    assert answer.status_code == 413
    assert "uploaded as files" in json.loads(answer.content)["error"]["message"]


def test_it_lets_go_of_the_lead_when_it_is_told_to_leave(tmp_path: Path) -> None:
    with serving(tmp_path) as server, opened(f"sqlite:///{tmp_path / 'axo.db'}") as database:
        wait(lambda: not _free(database))
        os.kill(server.pid, signal.SIGTERM)
        wait(lambda: _free(database), 5)  # the lease itself would run for ten seconds


def _free(database: Database) -> bool:
    """Whether nobody leads; it is free afterwards too."""
    mine = database.hold_lease("controller", "another", 15)
    if mine is not None:
        database.release_lease(mine)
    return mine is not None
