"""How long a connection is waited for, and how many there may be: those who dawdle make room for others."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
TAKE_SECONDS = 20.0
MOST_CONNECTIONS = 2000
BACKLOG = 128  # connections that are taken on at once; four times as many may be there unseen
WANTED_FILES = 8192
_UNSENT_BYTES = 128 << 10
_RESET = struct.pack("ii", 1, 0)


class PatientProtocol(H11Protocol):
    """Closes a connection whose next request head does not arrive within `HEAD_SECONDS` of its first byte,
    and one that takes nothing for `TAKE_SECONDS` of an answer that waits for it.

    Where there are too many, those without a request in hand go, the oldest first.
    """

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that what waits is known from its first byte on
        self.began = self.loop.time()  # or when the last request came
        self._wait()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.idle:
            self.began = self.loop.time()
            self._heard()
        elif self._late is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All that waited was taken, or the connection is lost."""
        super().resume_writing()
        self._taken()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def cut(self) -> None:
        """Let go of the connection at once, with whatever the kernel still holds for it."""
        sock = self.transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
        self.connections.discard(self)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _heard(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _watch(self, left: int) -> None:
        self._stuck = self.loop.call_later(TAKE_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._watch(left)
        else:
            self.cut()

    def _taken(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _make_room(self) -> None:
        """A tenth goes at a time, so that looking for them costs each newcomer little."""
        most = most_connections()
        if len(self.connections) <= most:
            return
        others = (each for each in self.connections if isinstance(each, PatientProtocol) and each is not self)
        idle = sorted((each for each in others if each.idle), key=lambda each: each.began)
        for each in idle[: 1 + most // 10] or [self]:
            each.cut()


def most_connections() -> int:
    """How many there may be: files of the process are needed for more than these."""
    return min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)


def allow_files() -> None:
    """Let the process open as many files as it wants, where its own limit is lower than it need be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_little(listener: socket.socket) -> None:
    """Let the kernel keep little of an answer that its reader does not take; else that may be megabytes."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
