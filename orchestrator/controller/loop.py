"""Leading: of all processes over one database, the holder of a lease drives the runs."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.controller.due import DueRuns
from orchestrator.controller.gauges import LEADS
from orchestrator.controller.leftovers import Leftovers
from orchestrator.controller.reconcile import Controller
from orchestrator.controller.removals import Removals
from orchestrator.controller.retention import Retaining
from orchestrator.controller.room import Measuring
from orchestrator.controller.ship import Shipping
from orchestrator.controller.sweep import Sweep
from orchestrator.controller.track import Tracking
from orchestrator.controller.workers import turning
from orchestrator.db import Database, Lease

LEASE = "controller"
LEASE_SECONDS = 10.0
BEAT_SECONDS = 2.0
CANDIDATE_SECONDS = 0.25
CHAIN_SECONDS = 1.0
FAULT_SECONDS = 1.0
LEAVE_SECONDS = 1.0  # what is in hand may take so long to end when we are told to stop

_log = logging.getLogger(__name__)


@dataclass
class Loop:
    """Leads where nobody else does; `news` tells that a run is due."""

    controller: Controller
    tracking: Tracking
    database: Database
    clock: Callable[[], float]
    news: threading.Event

    def run(self, stop: threading.Event) -> None:
        """Lead, or stand by to, until told to stop; then let another one lead at once."""
        while not stop.is_set():
            lease = self._take()
            if lease is not None:
                self._lead(lease, stop)
            stop.wait(CANDIDATE_SECONDS)

    def _take(self) -> Lease | None:
        try:
            return self.database.hold_lease(LEASE, _holder(), LEASE_SECONDS)
        except Exception:  # the database is away; somebody must lead once it is back
            _log.exception("the lease cannot be asked for; it is tried again")
            time.sleep(FAULT_SECONDS)
            return None

    def _lead(self, lease: Lease, stop: threading.Event) -> None:
        """Do everything a leader does, for one term: until it is told to stop, or has lost its lease."""
        over = threading.Event()
        work = DueRuns(self.controller.under(lease), self.clock, over)
        turning("controller", work.turn, over, self.news)
        turning("rounds", work.go_round, over, work.heard)
        if self.controller.settings.mlflow_uri:
            tracking = replace(self.tracking, database=self.database.under(lease))
            turning("shipping", Shipping(tracking, self.clock, over).turn, over)
        leading = self.database.under(lease)
        turning("sweep", Sweep(leading, self.controller.backend, self.clock).turn, over)
        turning("removals", Removals(leading, self.clock).turn, over)
        turning("leftovers", Leftovers(self.controller.settings, self.clock).turn, over)
        turning("measuring", Measuring(self.controller.settings, leading, self.clock).turn, over)
        turning("retention", Retaining(self.controller.settings, leading, self.clock).turn, over)
        turning("audit", partial(_chain_changes, leading), over)
        _log.info("leads by fence %d", lease.fence)
        with LEADS.track_inprogress():
            self._beat(lease, stop, over)
        over.set()
        self.news.set()
        work.heard.set()
        work.hands.wait_done(LEAVE_SECONDS)
        self._let_go(lease)

    def _beat(self, lease: Lease, stop: threading.Event, over: threading.Event) -> None:
        """Prolong the lease as long as we may."""
        held = time.monotonic()
        while not (stop.is_set() or over.is_set()) and time.monotonic() - held < LEASE_SECONDS:
            try:
                if self.database.hold_lease(lease.name, lease.holder, LEASE_SECONDS) != lease:
                    return
                held = time.monotonic()
            except Exception:  # until the lease has run out, nobody else leads either
                _log.exception("the lease cannot be prolonged; it is tried again")
            stop.wait(BEAT_SECONDS)

    def _let_go(self, lease: Lease) -> None:
        try:
            self.database.release_lease(lease)
        except Exception:
            _log.exception("the lease cannot be given back; it runs out by itself")


def _chain_changes(database: Database) -> float:
    """A turn that puts what people changed into the audit log's chain."""
    database.chain_changes()
    return CHAIN_SECONDS


def _holder() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
