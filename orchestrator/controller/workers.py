"""Threads of the controller: one that turns again and again, and hands that each hold one piece of work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.db import LeaseLost

FAULT_SECONDS = 5.0
STUCK_SECONDS = 30.0

_log = logging.getLogger(__name__)


def turning(
    name: str, turn: Callable[[], float], over: threading.Event, news: threading.Event | None = None
) -> None:
    """Start a thread that turns until `over`; a turn says how many seconds to rest, which `news` cuts short.

    A turn that fails is tried again. A lost lease is `over` for everybody under it.
    """
    threading.Thread(target=_turn_on, args=(name, turn, over, news), name=name, daemon=True).start()


def _turn_on(
    name: str, turn: Callable[[], float], over: threading.Event, news: threading.Event | None
) -> None:
    while not over.is_set():
        try:
            rest = turn()
        except LeaseLost:
            over.set()
            return
        except Exception:  # the thread outlives whatever happens to a turn
            _log.exception("%s failed a turn; it goes on", name)
            rest = FAULT_SECONDS
        (news or over).wait(rest)
        if news:
            news.clear()


@dataclass
class Hands:
    """Does pieces of work side by side, each in a thread of its own, never two with the same key.

    `count` of them at most, not counting those that have been at it for STUCK_SECONDS: what hangs does not
    hold up the others.
    """

    name: str
    count: int
    over: threading.Event
    most: int = 64
    _since: dict[str, float] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, key: str, work: Callable[[], None]) -> bool:
        """Begin a piece of work; False where its key is in hand, or no hand is free."""
        with self._changed:
            if key in self._since or self.free <= 0:
                return False
            self._since[key] = time.monotonic()
        threading.Thread(target=self._do, args=(key, work), name=f"{self.name}: {key}", daemon=True).start()
        return True

    @property
    def free(self) -> int:
        """How many more could be begun now."""
        getting_on = len(self._since) - self.stuck
        return min(self.count - getting_on, self.most - len(self._since))

    @property
    def stuck(self) -> int:
        """How many have been at it for too long."""
        before = time.monotonic() - STUCK_SECONDS
        return sum(1 for since in list(self._since.values()) if since < before)

    def wait_free(self, seconds: float) -> None:
        """Wait until something can be begun."""
        with self._changed:
            self._changed.wait_for(lambda: self.free > 0, seconds)

    def wait_done(self, seconds: float) -> bool:
        """Wait until nothing is in hand; whether that came true."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._since, seconds)

    def _do(self, key: str, work: Callable[[], None]) -> None:
        try:
            work()
        except LeaseLost:
            self.over.set()
        except Exception:
            _log.exception("%s of %s failed", self.name, key)
        finally:
            with self._changed:
                del self._since[key]
                self._changed.notify_all()
