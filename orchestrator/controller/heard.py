"""What launches have reported to this process of late: how often each may, and which need no other asking."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

REPORTS_PER_SECOND = 80  # no more than MLflow is told of in the same time (ship)
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
    """The last report of each run; threads may share it."""

    _said: dict[str, Said] = field(default_factory=dict)
    _swept: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, run: str, said: Said) -> float:
        """A report was taken in; seconds until the next is welcome: the more report, the longer."""
        with self._lock:
            self._said[run] = said
            if said.at - self._swept > FRESH_SECONDS:
                self._swept = said.at
                self._said = {run: each for run, each in self._said.items() if self._fresh(each, said.at)}
            return self._again

    def of(self, run: str, now: float) -> Said | None:
        """Who reports for a run; None where nobody has for a while."""
        with self._lock:
            said = self._said.get(run)
            return said if said and self._fresh(said, now) else None

    @property
    def _again(self) -> float:
        return max(AGAIN_SECONDS, len(self._said) / REPORTS_PER_SECOND)

    def _fresh(self, said: Said, now: float) -> bool:
        return now - said.at < max(FRESH_SECONDS, 3 * self._again)
