"""The way to a service in this process: it holds little of an answer, whatever its reader does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from orchestrator.client.embedded import EmbeddedTransport

PARTS = 256


class Source:
    """An application with a long answer; it counts what was taken of it, and tells when it was let go."""

    def __init__(self) -> None:
        self.sent = 0
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(PARTS):
                await send({"type": "http.response.body", "body": bytes([number]) * 1000, "more_body": True})
                self.sent += 1
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.ended.set()


async def turns() -> None:
    """Return once everything else on the loop that could go on has."""
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_reader_who_waits_holds_the_answer_back(taken: int) -> None:
    source = Source()
    transport = EmbeddedTransport(source)
    with httpx.Client(base_url="http://embedded", transport=transport) as http:
        with http.stream("GET", "/") as answer:
            parts = answer.iter_raw()
            for _ in range(taken):
                next(parts)
            asyncio.run_coroutine_threadsafe(turns(), transport._loop).result(30)
            assert taken < source.sent < taken + 8
            assert not source.ended.is_set()
        assert source.ended.wait(30), "it ends when its reader goes away"


def test_all_comes_in_order() -> None:
    with httpx.Client(base_url="http://embedded", transport=EmbeddedTransport(Source())) as http:
        assert http.get("/").content == b"".join(bytes([number]) * 1000 for number in range(PARTS))


def test_what_is_there_is_read_after_its_client_was_closed() -> None:
    source = Source()
    transport = EmbeddedTransport(source)
    answer = transport.handle_request(httpx.Request("GET", "http://embedded/"))
    asyncio.run_coroutine_threadsafe(turns(), transport._loop).result(30)
    transport.close()
    assert source.ended.is_set()
    assert sum(map(len, answer.iter_raw())) == source.sent * 1000
