"""Ship what runs have to say to MLflow, which may be slow or away; nothing else waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from orchestrator.controller.gauges import TELL_ERRORS, TOLD
from orchestrator.controller.track import Tracking
from orchestrator.db import LeaseLost
from orchestrator.tracking import TrackingAway

REST_SECONDS = 1.0
PACE_SECONDS = 0.01  # between two runs: no more than about a hundred requests a second
AWAY_SECONDS = (2.0, 5.0, 15.0, 30.0)
REFUSED_SECONDS = 60.0
CLAIM_SECONDS = 120.0  # whoever dies while telling of a run leaves it to be told again after so long

_log = logging.getLogger(__name__)


class Shipping:
    """Tells MLflow of the runs it has not heard all about, for one term of leadership."""

    def __init__(self, tracking: Tracking, clock: Callable[[], float], over: threading.Event) -> None:
        self._tracking = tracking
        self._clock = clock
        self._over = over
        self._away = 0

    def turn(self) -> float:
        """Tell of each run once; the seconds to rest after it."""
        for run in self._tracking.database.to_tell(self._clock()):
            try:
                self._one(run)
            except TrackingAway as error:
                return self._wait_for_it(run, error)
            if self._over.wait(PACE_SECONDS):
                break
        return REST_SECONDS

    def _one(self, name: str) -> None:
        """Tell of one run; what is refused of it leaves the others alone."""
        claim = self._clock() + CLAIM_SECONDS
        database = self._tracking.database
        database.tell_again(name, claim)
        try:
            self._tracking.tell(database.run(name))
        except (TrackingAway, LeaseLost):
            raise
        except Exception:
            TELL_ERRORS.inc()
            _log.exception("MLflow cannot be told of %s; it is tried again", name)
            database.tell_again(name, self._clock() + REFUSED_SECONDS)
        else:
            self._away = 0
            TOLD.inc()
            database.told(name, claim)

    def _wait_for_it(self, run: str, error: TrackingAway) -> float:
        """Seconds to wait for a server that is away."""
        TELL_ERRORS.inc()
        _log.warning("%s", error)
        self._tracking.database.tell_again(run, self._clock())
        self._away += 1
        return AWAY_SECONDS[min(self._away, len(AWAY_SECONDS)) - 1]
