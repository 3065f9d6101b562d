"""The controller's loop: one leader for each database, which brings every due run a step further."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.controller.reconcile import Controller
from orchestrator.controller.track import behind
from orchestrator.db import Database, Run
from orchestrator.runs import Intent, Status

LEASE = "controller"
LEASE_SECONDS = 15.0
LOOK_SECONDS = 0.5  # between two looks at a run that goes on, where the backend tells nothing of itself
REST_SECONDS = 0.25
BEHIND_SECONDS = 2.0
BATCH = 200
FAULT_SECONDS = 5.0

_log = logging.getLogger(__name__)


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass
class Loop:
    """Leads where nobody else does, and reconciles the runs that are due; `news` ends its rest early."""

    controller: Controller
    database: Database
    clock: Callable[[], float]
    news: threading.Event
    holder: str = field(default_factory=_holder)

    def run(self, stop: threading.Event) -> None:
        """Turn until told to stop; then let another one lead."""
        while not stop.is_set():
            try:
                rest = self.turn()
            except Exception:  # the loop outlives whatever happens to it
                _log.exception("a turn of the controller failed; it goes on")
                rest = FAULT_SECONDS
            self.news.wait(rest)
            self.news.clear()
        self.database.release_lease(LEASE, self.holder)

    def turn(self) -> float:
        """One turn; the seconds to rest after it."""
        now = self.clock()
        if self.database.hold_lease(LEASE, self.holder, now, LEASE_SECONDS) is None:
            return REST_SECONDS
        for run in self.database.due(now, BATCH):
            self._one(run)
        return REST_SECONDS

    def _one(self, run: Run) -> None:
        """Reconcile one run; what goes wrong with it leaves the others alone."""
        try:
            after = self.controller.reconcile(run.id)
            look = self._next_look(after)
        except Exception:
            _log.exception("%s could not be reconciled; it is tried again", run.id)
            look = self.clock() + FAULT_SECONDS
        self.database.look_again(run.id, run.look, look)

    def _next_look(self, run: Run) -> float | None:
        """When to look at a run again; None where only somebody's wish can change it."""
        now = self.clock()
        if run.status.final:
            return now + BEHIND_SECONDS if behind(run, self.controller.settings) else None
        if run.status is Status.PAUSED and run.intent is Intent.PAUSE:
            return None
        return now + LOOK_SECONDS
