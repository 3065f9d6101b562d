"""Training that makes no progress: how long nothing may be heard of it, by its own pace.

All times are the service's own, so clocks of other machines do not matter. What counts is when a record was
last taken in, and when the run last changed how it stands, such as from waiting in a queue to training.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.controller.decision import LaunchView, Stall
from orchestrator.db import Attempt, Database, Run
from orchestrator.reasons import Reason
from orchestrator.runs import Phase
from orchestrator.settings import Settings

PACES = 20  # of the time from one record to the next may pass before it looks like a stall
RECORDS = 51  # the newest ones, that the pace is taken from


@dataclass(frozen=True)
class Silence:
    """Since when nothing was heard of training, where something is to be; and how long that may last: until
    it is told, and until its launch is stopped after that."""

    heard: float | None = None
    told: float = 0.0
    stopped: float | None = None

    def stall(self, run: Run, now: float) -> Stall | None:
        """What to say of the run, and whether it has lasted for too long."""
        if self.heard is None or (run.reason is Reason.STALLED and self.heard > run.updated):
            return None
        if run.reason is Reason.STALLED:
            return Stall(run.message, too_long=self.left(run, now) <= 0)
        words = f"nothing was heard of it for {_span(now - max(self.heard, run.updated))}"
        return Stall(words) if self.left(run, now) <= 0 else None

    def left(self, run: Run, now: float) -> float:
        """Seconds until the run is to be looked at again, if nothing is heard of it."""
        if self.heard is None:
            return math.inf
        if run.reason is Reason.STALLED:
            return math.inf if self.stopped is None else run.updated + self.stopped - now
        return max(self.heard, run.updated) + self.told - now


def silence_of(
    database: Database,
    settings: Settings,
    run: str,
    views: Sequence[LaunchView],
    attempts: Sequence[Attempt],
    now: float,
) -> Silence:
    """The silence of the newest launch, where that trains; its pace is asked for once it matters."""
    newest = views[-1] if views else None
    if newest is None or newest.step != "train" or newest.observation.phase is not Phase.RUNNING:
        return Silence()
    heard = next((each.heard for each in reversed(attempts) if each.launch == newest.number), None)
    told = settings.stalled_seconds
    if heard is not None and now - heard >= told:
        told = max(told, PACES * pace_of(database.newest_times(run, RECORDS)))
    return Silence(heard, told, settings.stalled_stop_seconds)


def pace_of(times: Sequence[float]) -> float:
    """The median of the seconds between records; 0 where too few are known."""
    between = [abs(after - before) for before, after in pairwise(times)]
    return statistics.median(between) if between else 0.0


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
