"""When to glance at which run: the later the longer nothing happens, within a share of a processor."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.backends import run_of_launch
from orchestrator.db import Standing

LOOK_SECONDS = 0.5  # between two looks at a run, at least
REST_SECONDS = 2.0  # at most, while few runs go on
QUIET_SHARE = 0.1  # how late news may be, as a share of the time since those before
PROCESSOR_SHARE = 0.2  # what all looks together may take of a processor; more runs mean longer rests
_WEIGHT = 0.001  # of one glance, in the mean of what they cost


@dataclass(slots=True)
class _Kept:
    standing: Standing
    since: float
    next: float


class Rounds:
    """The runs that go on by themselves, for one term of leadership; any thread may speak to it."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._news: set[str] = set()  # runs of which a glance found some
        self._lock = threading.Lock()
        self._cost = 0.0

    def keep(self, standing: Standing, now: float) -> None:
        """Glance at a run from now on; a look at it has just been taken."""
        with self._lock:
            before = self._kept.get(standing.run)
            since = before.since if before and before.standing == standing else now
            self._kept[standing.run] = _Kept(standing, since, now + self._rest(now - since))

    def keep_all(self, standing: Iterable[Standing], now: float) -> None:
        """Glance at all of these at once."""
        with self._lock:
            self._kept.update({each.run: _Kept(each, now, now) for each in standing})

    def leave(self, run: str) -> None:
        """A run no longer goes on by itself."""
        with self._lock:
            self._kept.pop(run, None)

    def next(self, now: float, limit: int) -> list[Standing]:
        """Runs to glance at now, each of which is put off until its next turn."""
        with self._lock:
            due = [kept for kept in self._kept.values() if kept.next <= now][:limit]
            for kept in due:
                kept.next = now + self._rest(now - kept.since)
            return [kept.standing for kept in due]

    def due(self, now: float) -> int:
        """How many glances are due."""
        with self._lock:
            return sum(kept.next <= now for kept in self._kept.values())

    def hear(self, launch: str) -> bool:
        """Something may have happened to a launch: whether that makes a glance due."""
        with self._lock:
            kept = self._kept.get(run_of_launch(launch))
            if kept:
                kept.next = 0.0
            return kept is not None

    def found(self, runs: Iterable[str]) -> None:
        """Glances at these runs found news."""
        with self._lock:
            self._news.update(runs)

    def news(self) -> set[str]:
        """The runs that a glance found news of, since this was last asked."""
        with self._lock:
            news, self._news = self._news, set()
            return news

    def spent(self, seconds: float, glances: int = 0) -> None:
        """So many seconds of a processor went into some glances, or into the look that came of one."""
        with self._lock:
            self._cost = self._cost * (1 - _WEIGHT) ** glances + seconds * _WEIGHT

    def _rest(self, quiet: float) -> float:
        rest = min(max(LOOK_SECONDS, quiet * QUIET_SHARE), REST_SECONDS)
        return max(rest, len(self._kept) * self._cost / PROCESSOR_SHARE)
