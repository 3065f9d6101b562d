"""The HTTP server: uvicorn, but for clients that dawdle and for how it leaves."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from orchestrator.api.entrance import ReportsAlone
from orchestrator.api.patience import BACKLOG, PatientProtocol, allow_files, keep_little

LEAVE_SECONDS = 1  # for requests that are still being answered
# Longer than the 60 seconds of most proxies: one that sends a request into a connection that is being closed
# cannot send a POST again, and answers 502.
KEEP_SECONDS = 75


def serve_http(app: FastAPI, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    allow_files()
    send_at_once(listener)
    keep_little(listener)
    LeavingServer(http_config(app)).run(sockets=[listener])


def send_at_once(listener: socket.socket) -> None:
    """Let connections send an answer's body without waiting for its head to be confirmed, which takes 40 ms.

    asyncio does so by itself only where a socket was made for TCP by name.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def serving_reports(app: FastAPI, place: Path) -> Iterator[None]:
    """Take reports at a socket of this machine as well, which launches without a network can reach.

    Nothing else is answered there: whoever reaches it need not be a person's program.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        place.chmod(0o666)  # launches may run as another user; their tokens tell who they are
        try:
            with serving_beside(ReportsAlone(app), listener, "reports"):
                yield
        finally:
            place.unlink(missing_ok=True)


@contextmanager
def serving_beside(app: ASGIApp, listener: socket.socket, name: str) -> Iterator[None]:
    """Answer requests in a thread of that name, for the length of a `with` block."""
    server = uvicorn.Server(http_config(app))
    thread = threading.Thread(target=server.run, args=([listener],), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def http_config(app: ASGIApp) -> uvicorn.Config:
    """How HTTP is spoken."""
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        backlog=BACKLOG,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom to believe is a setting (`access.proxies`)
        timeout_keep_alive=KEEP_SECONDS,
        timeout_graceful_shutdown=LEAVE_SECONDS,
    )


class LeavingServer(uvicorn.Server):
    """Returns when it is told to leave: uvicorn raises the signal anew, which would end the process before
    the controller has let go of its lease."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
