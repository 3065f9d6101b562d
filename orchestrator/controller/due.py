"""What is due: each such run is brought a step further, side by side, and none holds up another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from orchestrator.controller.gauges import ERRORS, RECONCILE, STUCK, THROTTLED
from orchestrator.controller.pace import Pace
from orchestrator.controller.reconcile import Controller
from orchestrator.controller.workers import Hands
from orchestrator.db import LeaseLost, Run, RunMoved
from orchestrator.runs import Intent, Status

LOOK_SECONDS = 0.5  # between two looks at a run that goes on, where the backend tells nothing of itself
REST_SECONDS = 0.25
BATCH = 200
HANDS = 4
PUBLISHING_HANDS = 2
AGAIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)

_log = logging.getLogger(__name__)


class DueRuns:
    """Reconciles the runs that are due, for one term of leadership."""

    def __init__(self, controller: Controller, clock: Callable[[], float], over: threading.Event) -> None:
        self.publishing = Hands("publish", PUBLISHING_HANDS, over)
        self._controller = replace(controller, beside=self.publishing.take)
        self._clock = clock
        self._over = over
        self._failures: dict[str, int] = {}
        self._pace = Pace(controller.settings.launches_per_second)
        self.hands = Hands("reconcile", HANDS, over)

    def turn(self) -> float:
        """Begin with what is due; the seconds to rest after it."""
        now, database = self._clock(), self._controller.database
        begun = sum(self._begin(run) for run in database.due_beside_the_queue(now, BATCH))
        if free := self._pace.free(now):
            for run in database.next_of_the_queue(now, free):
                if self._begin(run):
                    self._pace.spend()
                    THROTTLED.inc(max(0.0, now - (run.look or now)))
        STUCK.set(self.hands.stuck)
        return 0.0 if begun == BATCH else REST_SECONDS

    def _begin(self, run: Run) -> bool:
        self.hands.wait_free(REST_SECONDS)
        return not self._over.is_set() and self.hands.take(run.id, lambda: self.one(run))

    def one(self, run: Run) -> None:
        """Reconcile one run, and say when to look at it again."""
        look = self._reconcile(run)
        self._controller.database.look_again(run.id, run.look, look)

    def _reconcile(self, run: Run) -> float | None:
        try:
            with RECONCILE.time():
                after = self._controller.reconcile(run.id)
        except LeaseLost:
            raise
        except RunMoved:
            return self._clock()
        except Exception as error:  # what goes wrong with one run leaves the others alone
            return self._trouble(run, error)
        self._failures.pop(run.id, None)
        return self._next_look(after)

    def _trouble(self, run: Run, error: Exception) -> float | None:
        """Show what went wrong, and try again, each time a little later; a deleted run is past that."""
        if self._controller.database.project_of(run.id) is None:
            return None
        _log.exception("%s could not be reconciled; it is tried again", run.id)
        ERRORS.inc()
        failures = self._failures.get(run.id, 0)
        self._failures[run.id] = failures + 1
        self._controller.explain(run.id, error)
        return self._clock() + AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)]

    def _next_look(self, run: Run) -> float | None:
        """When to look at a run again; None where only somebody's wish can change it."""
        paused = run.status is Status.PAUSED and run.intent is Intent.PAUSE
        return None if run.status.final or paused else self._clock() + LOOK_SECONDS
