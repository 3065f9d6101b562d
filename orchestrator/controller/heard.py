"""What launches have reported to this process of late: how often each may, and which need no other asking."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

REPORTS_PER_SECOND = 80.0  # no more than MLflow is told of in the same time (ship)
AGAIN_SECONDS = 1.0
FRESH_SECONDS = 30.0


@dataclass(frozen=True)
class Said:
    """Who reported last for a run, and when in seconds since 1970."""

    launch: int
    attempt: int
    at: float


@dataclass
class Heard:
    """The last report of each run, and when the next one of each is welcome; threads may share it."""

    _said: dict[str, Said] = field(default_factory=dict)
    _turns: dict[str, float] = field(default_factory=dict)
    _last: float = 0.0  # the latest of these turns
    _swept: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, run: str, said: Said) -> float:
        """A report was taken in; seconds until the next is welcome: the more report, the longer.

        Runs that all came at once come evenly from then on: each has a turn of its own. A report before
        its turn gains none.
        """
        with self._lock:
            turn = self._turn(run, said.at)
            self._said[run], self._turns[run] = said, turn
            if said.at - self._swept > FRESH_SECONDS:
                self._sweep(said.at)
            return turn - said.at

    def of(self, run: str, now: float) -> Said | None:
        """Who reports for a run; None where nobody has for a while."""
        with self._lock:
            said = self._said.get(run)
            return said if said and self._fresh(said, now) else None

    def _turn(self, run: str, now: float) -> float:
        """When a run is to report next: never later than all others need, though the clock was set back.

        One that nobody had called for has taken a turn already: MLflow is told of it as well.
        """
        latest = now + AGAIN_SECONDS + 2 * self._round
        if self._turns.get(run, now) > now:
            return min(self._turns[run], latest)
        taken = 1 if run in self._turns else 2
        self._last = min(max(now + AGAIN_SECONDS, self._last + taken / REPORTS_PER_SECOND), latest)
        return self._last

    def _sweep(self, now: float) -> None:
        self._swept = now
        self._said = {run: said for run, said in self._said.items() if self._fresh(said, now)}
        self._turns = {run: turn for run, turn in self._turns.items() if run in self._said}

    @property
    def _round(self) -> float:
        """Seconds that a turn of every run takes."""
        return len(self._said) / REPORTS_PER_SECOND

    def _fresh(self, said: Said, now: float) -> bool:
        return abs(now - said.at) < max(FRESH_SECONDS, 3 * self._round)
