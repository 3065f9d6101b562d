"""What is due: each such run is brought a step further, side by side, and none holds up another.

The database says which runs are due for a look. Those that go on by themselves are put off there for minutes,
and glanced at meanwhile, at once where the backend tells of something; what is new is a reason for a look.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from orchestrator.controller.gauges import ERRORS, GLANCES, RECONCILE, STUCK, THROTTLED
from orchestrator.controller.glance import has_news
from orchestrator.controller.pace import Pace
from orchestrator.controller.reconcile import Controller, Looked
from orchestrator.controller.rounds import LOOK_SECONDS, Rounds
from orchestrator.controller.workers import Hands
from orchestrator.db import LeaseLost, Run, RunMoved, Standing
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status

# After so long, at some moment between, a run is looked at whatever glances saw.
SURE_SECONDS = (300.0, 900.0)
SET_BACK_SECONDS = 1.0  # less puts no look off for long
REST_SECONDS = 0.25
CALM_SECONDS = 0.02  # in which more news comes together
BATCH = 200
HANDS = 4
PUBLISHING_HANDS = 2
GLANCING_HANDS = 4
GLANCES_AT_ONCE = 50
FULL_SECONDS = 15.0  # until a launch is tried again that there was no room for
AGAIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)

_log = logging.getLogger(__name__)


class DueRuns:
    """Reconciles the runs that are due, for one term of leadership; `heard` tells that a glance is due."""

    def __init__(
        self,
        controller: Controller,
        clock: Callable[[], float],
        over: threading.Event,
    ) -> None:
        self.heard = threading.Event()
        self.publishing = Hands("publish", PUBLISHING_HANDS, over)
        self.hands = Hands("reconcile", HANDS, over)
        self.glancing = Hands("glance", GLANCING_HANDS, over)
        self._controller = replace(controller, beside=self.publishing.take)
        self._clock, self._over = clock, over
        self._failures: dict[str, int] = {}
        self._pace = Pace(controller.settings.launches_per_second)
        self._rounds, self._taken_over = Rounds(), False
        self._latest: float | None = None
        controller.backend.on_news(self._hear)

    def turn(self) -> float:
        """Begin with what is due; the seconds to rest after it."""
        now, database = self._clock(), self._controller.database
        self._notice(now)
        begun = sum(self._begin(owed.run) for owed in database.due_beside_the_queue(now, BATCH))
        if free := self._pace.free(now):
            for owed in database.next_of_the_queue(now, free):
                if self._begin(owed.run):
                    self._pace.spend()
                    THROTTLED.inc(max(0.0, now - owed.look))
        STUCK.set(self.hands.stuck + self.glancing.stuck)
        return 0.0 if begun == BATCH else REST_SECONDS

    def _notice(self, now: float) -> None:
        """Put off nothing for as long as the clock was set back, in this term or before it."""
        if self._latest is None:
            self._controller.database.bring_forward(now, now + SURE_SECONDS[1])
        elif now < self._latest - SET_BACK_SECONDS:
            _log.warning("the clock was set back by %.1f seconds; all runs are looked at", self._latest - now)
            self._controller.database.bring_forward(now, now)
            self._taken_over = False
        self._latest = now

    def go_round(self) -> float:
        """Look at what glances found news of, and glance at what is due; the seconds to rest after it."""
        self._over.wait(CALM_SECONDS)
        now = self._clock()
        if not self._taken_over:
            self._rounds.keep_all(self._controller.database.standing(), now)
            self._taken_over = True
        self._rounds.found([run for run in self._rounds.news() if not self._begin(run)])
        hands = min(GLANCING_HANDS, math.ceil(self._rounds.due(now) / GLANCES_AT_ONCE))
        for number in range(hands):
            self.glancing.take(str(number), self._glance)
        return REST_SECONDS

    def _begin(self, run: str) -> bool:
        self.hands.wait_free(REST_SECONDS)
        return not self._over.is_set() and self.hands.take(run, lambda: self.one(run))

    def one(self, name: str) -> None:
        """Reconcile one run, and say when to look at it again."""
        began = time.thread_time()
        run = self._controller.database.run(name)
        look = self._reconcile(run)
        self._controller.database.look_again(run.id, run.look, look)
        self._rounds.spent(time.thread_time() - began)

    def _reconcile(self, run: Run) -> float | None:
        try:
            with RECONCILE.time():
                looked = self._controller.look_at(run)
        except LeaseLost:
            raise
        except Exception as error:  # what goes wrong with one run leaves the others alone
            self._rounds.leave(run.id)
            return self._clock() if isinstance(error, RunMoved) else self._trouble(run, error)
        self._failures.pop(run.id, None)
        return self._next_look(looked)

    def _trouble(self, run: Run, error: Exception) -> float | None:
        """Show what went wrong, and try again, each time a little later; a deleted run is past that."""
        if self._controller.database.project_of(run.id) is None:
            self._failures.pop(run.id, None)
            return None
        _log.exception("%s could not be reconciled; it is tried again", run.id)
        ERRORS.inc()
        failures = self._failures.get(run.id, 0)
        self._failures[run.id] = failures + 1
        self._controller.explain(run.id, error)
        return self._clock() + AGAIN_SECONDS[min(failures, len(AGAIN_SECONDS) - 1)]

    def _next_look(self, looked: Looked) -> float | None:
        """When to look at a run again; None where only somebody's wish can change it."""
        now, run = self._clock(), looked.run
        if looked.standing:
            self._rounds.keep(looked.standing, now)
            return now + min(random.uniform(*SURE_SECONDS), max(LOOK_SECONDS, looked.within))
        self._rounds.leave(run.id)
        paused = run.status is Status.PAUSED and run.intent is Intent.PAUSE
        if run.status.final or paused:
            return None
        return now + (FULL_SECONDS if run.reason is Reason.QUOTA else LOOK_SECONDS)

    def _glance(self) -> None:
        """Glance at runs until none is due."""
        while not self._over.is_set() and (some := self._rounds.next(self._clock(), GLANCES_AT_ONCE)):
            began = time.thread_time()
            news = [each.run for each in some if self._is_news(each)]
            self._rounds.spent(time.thread_time() - began, len(some))
            GLANCES.inc(len(some))
            if news:
                self._rounds.found(news)
                self.heard.set()

    def _is_news(self, standing: Standing) -> bool:
        """Whether there is news; a glance that fails is some, since the look that follows shows why."""
        try:
            said = self._controller.heard.of(standing.run, self._clock())
            return has_news(standing, self._controller.backend, said)
        except Exception:
            return True

    def _hear(self, launch: str) -> None:
        if self._rounds.hear(launch):
            self.heard.set()
