"""Ship what runs have to say to MLflow, which may be slow or away; nothing else waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from orchestrator.controller.gauges import TELL_ERRORS, TOLD
from orchestrator.controller.track import Tracking
from orchestrator.controller.workers import Hands
from orchestrator.db import LeaseLost
from orchestrator.tracking import TrackingAway

REST_SECONDS = 1.0
# Between two batches of a run's points: many small ones cost a server more than a large one.
LIVE_SECONDS = 5.0
HANDS = 4
AWAY_SECONDS = (2.0, 5.0, 15.0, 30.0)
REFUSED_SECONDS = 60.0
AT_ONCE = 100  # of one turn: who comes meanwhile need not wait for all that are there
MANY = 10  # so many runs in one turn leave no time to rest
TURN_SECONDS = 30.0  # what hangs for longer no longer holds up a turn's end

_log = logging.getLogger(__name__)


class Shipping:
    """Tells MLflow of the runs it has not heard all about, for one term of leadership."""

    def __init__(self, tracking: Tracking, clock: Callable[[], float], over: threading.Event) -> None:
        self._tracking = tracking
        self._clock = clock
        self._over = over
        self._hands = Hands("shipping", HANDS, over)
        self._told: dict[str, float] = {}
        self._away: TrackingAway | None = None
        self._failures = 0

    def turn(self) -> float:
        """Tell of the runs that have waited longest, several at a time; the seconds to rest after it."""
        self._away = None
        waiting = self._tracking.database.to_tell(self._clock()).items()
        due = [(run, tell) for run, tell in waiting if not self._rests(run, tell)][:AT_ONCE]
        for run, tell in due:
            self._begin(run, tell)
            if self._away or self._over.is_set():
                break
        self._hands.wait_done(TURN_SECONDS)
        self._told = {run: at for run, at in self._told.items() if self._is_of_late(at)}
        if self._away:
            return self._wait_for_it(self._away)
        return REST_SECONDS if len(due) < MANY else 0.0

    def _rests(self, run: str, tell: float) -> bool:
        """Whether a run has nothing but points to tell, and told some only just now."""
        return tell < 0.0 and self._is_of_late(self._told.get(run, 0.0))

    def _is_of_late(self, at: float) -> bool:
        return 0 <= self._clock() - at < LIVE_SECONDS

    def _begin(self, run: str, tell: float) -> None:
        while not self._over.is_set() and not self._away:
            self._hands.wait_free(REST_SECONDS)
            if self._hands.free > 0:
                self._hands.take(run, partial(self._one, run, tell))
                return

    def _one(self, name: str, tell: float) -> None:
        """Tell of one run; what is refused of it leaves the others alone."""
        database = self._tracking.database
        try:
            self._tracking.tell(database.run(name))
        except TrackingAway as error:
            self._away = error
        except LeaseLost:
            raise
        except Exception:
            TELL_ERRORS.inc()
            _log.exception("MLflow cannot be told of %s; it is tried again", name)
            database.tell_again(name, self._clock() + REFUSED_SECONDS)
        else:
            if self._failures:
                self._failures = 0
                _log.warning("MLflow answers again")
            self._told[name] = self._clock()
            TOLD.inc()
            database.told(name, tell)

    def _wait_for_it(self, error: TrackingAway) -> float:
        """Seconds to wait for a server that is away."""
        TELL_ERRORS.inc()
        _log.warning("%s", error)
        self._failures += 1
        return AWAY_SECONDS[min(self._failures, len(AWAY_SECONDS)) - 1]
