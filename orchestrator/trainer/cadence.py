"""When a checkpoint is due by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

LARGEST_SHARE = 0.04  # of the time: a slow save waits longer for the next one


class Cadence:
    """Checkpoints every so many seconds, counted from the end of the last save; never, with None.

    A save that takes long stretches the interval, so that saving takes at most `LARGEST_SHARE` of the
    time. Nothing that is trained depends on it.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._last = self._began = clock()
        self._spent: list[float] = []

    def begin(self) -> None:
        """Training begins: count from here."""
        self._last = self._clock()

    def due(self) -> bool:
        if self._seconds is None:
            return False
        longest = self._spent[-1] * (1 / LARGEST_SHARE - 1) if self._spent else 0.0
        return self._clock() - self._last >= max(self._seconds, longest)

    def saving(self) -> None:
        """A save begins, whatever asked for it."""
        self._began = self._clock()

    def saved(self) -> None:
        """It has ended, and is committed."""
        self._last = self._clock()
        self._spent.append(self._last - self._began)

    @property
    def facts(self) -> Mapping[str, float]:
        """How many saves there were, and the seconds of one on average."""
        if not self._spent:
            return {"saves": 0}
        return {"saves": len(self._spent), "save_seconds": round(sum(self._spent) / len(self._spent), 3)}
