"""Launches that outlive their runs: one that still runs is stopped, and a day later, or once its run was
deleted, all are let go."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.backends import Backend, run_of_launch
from orchestrator.db import Database
from orchestrator.errors import BackendError, NotFoundError

KEEP_SECONDS = 24 * 3600.0  # for those who look at a container or a Job themselves
SWEEP_SECONDS = 300.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """Goes through the launches that the backend holds; `clock` gives seconds since 1970."""

    database: Database
    backend: Backend
    clock: Callable[[], float]

    def turn(self) -> float:
        """One sweep; seconds until the next."""
        with contextlib.suppress(BackendError):  # it is away, and asked again at the next one
            for name in self.backend.launches():
                self._let_go(name)
        return SWEEP_SECONDS

    def _let_go(self, name: str) -> None:
        """Stop the launch of a run that has ended, and remove it once that was long ago; that of a deleted
        run at once, with what it has written since.

        A launch of a run that this database does not know is left alone: it may be another service's.
        """
        now, run = self.clock(), run_of_launch(name)
        deleted = self.database.deleted_run(run)
        ended = deleted.time if deleted else self._ended(run)
        if ended is None:
            return
        if self.backend.observe(name).alive:
            _log.warning("%s still runs, and its run is over; it is told to leave", name)
            self.backend.stop(name, now)
        if deleted:  # noted while the launch still reminds of it
            self.database.remove_again(deleted, now)
        if deleted or now - ended >= KEEP_SECONDS:
            self.backend.remove(name)

    def _ended(self, run: str) -> float | None:
        """When a run ended that has, and that this database knows."""
        try:
            found = self.database.run(run)
        except NotFoundError:
            return None
        return (found.ended or found.updated) if found.status.final else None
