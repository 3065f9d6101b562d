"""SIGTERM and SIGINT of a step's program: kept for later, forwarded to children, or raised.

Imports next to nothing, so that its handlers stand before anything else is done.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """SIGTERM or SIGINT came while there was nobody to forward it to."""


class Signals:
    """Both signals of this process. As PID 1 it would not get them without a handler."""

    def __init__(self) -> None:
        self.stopping = False
        self._children: tuple[int, ...] = ()
        self._raising = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Inside, a signal raises Stopped; one that came before raises it at once."""
        self._raising = True
        try:
            if self.stopping:
                raise Stopped
            yield
        finally:
            self._raising = False

    @contextlib.contextmanager
    def forwarding(self, *children: int) -> Iterator[None]:
        """Inside, a signal goes to these children; so does one that came while they were started."""
        self._children = children
        try:
            if self.stopping:
                self._forward()
            yield
        finally:
            self._children = ()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
        if self._children:
            self._forward()
        elif self._raising:
            self._raising = False  # once: a second signal must not break the leaving
            raise Stopped

    def _forward(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
