"""Temporary runs: a warning first, and days later their adapter and checkpoints go; a pin keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.db import Database
from orchestrator.settings import Settings

SWEEP_SECONDS = 60.0
DAY_SECONDS = 24 * 3600.0
BATCH = 100


@dataclass(frozen=True)
class Retaining:
    """Looks after the files of temporary runs that have ended; `clock` gives seconds since 1970.

    Nothing goes sooner than `warning_days` after its warning was there to read, however long nobody looked.
    """

    settings: Settings
    database: Database
    clock: Callable[[], float]

    def turn(self) -> float:
        """One look; seconds until the next."""
        now = self.clock()
        kept, notice = self.settings.temporary_days * DAY_SECONDS, self.settings.warning_days * DAY_SECONDS
        for run in self.database.to_warn_of(now - kept + notice, BATCH):
            expires = max((run.ended or run.updated) + kept, now + notice)
            day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(expires))
            pin = f"`axo models pin {run.id}` keeps them"
            self.database.warn(run, expires, f"Adapter and checkpoints go at {day}; {pin}.", now)
        for run in self.database.to_expire(now, BATCH):
            self.database.expire(run, "Adapter and checkpoints are removed; records and versions stay.", now)
        return SWEEP_SECONDS
