"""How many launches may begin now, and when a further request may be sent."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


@dataclass
class Pace:
    """So many launches a second, and as many at once after a rest of a second or more."""

    per_second: float
    _left: float = 1.0
    _at: float | None = None

    def free(self, now: float) -> int:
        """How many may begin at `now`, in seconds of a clock that may be set back."""
        if self._at is not None:
            passed = max(0.0, now - self._at)
            self._left = min(max(1.0, self.per_second), self._left + passed * self.per_second)
        self._at = now
        return int(self._left)

    def spend(self) -> None:
        """One has begun."""
        self._left -= 1.0


@dataclass
class Spacing:
    """So many requests a second, none of them sooner after another; threads may share it."""

    per_second: float
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Return when a request may be sent."""
        with self._lock:
            at = max(time.monotonic(), self._next)
            self._next = at + 1 / self.per_second
        time.sleep(max(0.0, at - time.monotonic()))
