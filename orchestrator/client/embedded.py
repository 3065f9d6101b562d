"""The way to a service in this very process: HTTP's requests and answers, without a network."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import httpx

_END = b""
_PARTS = 4  # of a body that its reader has yet to take, as a network holds little of it


class EmbeddedTransport(httpx.BaseTransport):
    """Calls an ASGI application on a loop of its own, in a thread; bodies stream as they come."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded", daemon=True)
        self._thread.start()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        exchange = _Exchange(body, self._loop)
        running = asyncio.run_coroutine_threadsafe(
            self._app(_scope(request), exchange.receive, exchange.send), self._loop
        )
        running.add_done_callback(exchange.done)
        status, headers = exchange.head.result()
        return httpx.Response(status, headers=headers, stream=_Stream(exchange, running))

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(_end_the_rest(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


async def _end_the_rest() -> None:
    """Cancel whatever still runs on this loop, and wait until it has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class _Exchange:
    """One request and its answer, between the caller's thread and the loop's."""

    def __init__(self, body: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._body: bytes | None = body
        self._loop = loop
        self.head: Future[tuple[int, list[tuple[bytes, bytes]]]] = Future()
        self._parts: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_PARTS)

    async def receive(self) -> dict[str, Any]:
        if self._body is None:  # nobody goes away here but by cancelling the whole exchange
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.head.set_result((message["status"], message["headers"]))
        elif body := message.get("body"):
            await self._room.acquire()
            self._parts.put(body)

    def done(self, running: Future[None]) -> None:
        if not self.head.done():
            error = None if running.cancelled() else running.exception()
            self.head.set_exception(error or RuntimeError("the application did not answer"))
        self._parts.put(_END)

    def taken(self) -> Iterator[bytes]:
        """The parts of the answer's body, each of which makes room for another."""
        while (part := self._parts.get()) != _END:
            with suppress(RuntimeError):  # the loop is closed, and nothing more will come
                self._loop.call_soon_threadsafe(self._room.release)
            yield part


class _Stream(httpx.SyncByteStream):
    def __init__(self, exchange: _Exchange, running: Future[None]) -> None:
        self._exchange, self._running = exchange, running

    def __iter__(self) -> Iterator[bytes]:
        return self._exchange.taken()

    def close(self) -> None:
        self._running.cancel()


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port or 80),
    }
