"""A run's life: its statuses, what the user wants of it, and what a backend sees of its launches.

           a          b             c           d            f              f              g
    submit ─> queued ──> preparing ──> waiting ──> training ──> evaluating ──> publishing ──> succeeded
                                          ^           │        (skipped where nobody asked for it)
                                          └──── e ────┘
    from every state:  h ──> failed    i ──> cancelled    j ──> paused ── resumed ──> waiting

    a submitted · b prepare launched · c data proven, train launched · d trainer started
    e evicted, killed or retried · f adapter whole · g every registry confirmed by digest
    h a reason that ends it · i the user cancelled · j the user paused

Intent is what the user wants (run, pause, cancel); status is what is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.reasons import Reason


class Status(StrEnum):
    QUEUED = "queued"
    PREPARING = "preparing"
    WAITING = "waiting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    PUBLISHING = "publishing"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class Intent(StrEnum):
    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Keep(StrEnum):
    """What of a cancelled run becomes its adapter: its best checkpoint, its last one, or none."""

    BEST = "best"
    LAST = "last"
    NONE = "none"


class Phase(StrEnum):
    """What a backend can say of a launch."""

    MISSING = "missing"
    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Observation:
    """What a backend saw of a launch: the phase, the exit code where it is known, its own words, and the
    reason where it knows one. It is `resting` while none of its attempts is there and the backend lets time
    pass before the next."""

    phase: Phase
    exit_code: int | None = None
    detail: str = ""
    reason: Reason | None = None
    resting: bool = False

    @property
    def alive(self) -> bool:
        return self.phase in (Phase.PENDING, Phase.RUNNING)
