"""What to do next with a run: one pure function of what is known of it.

A pass may run twice or die anywhere: all that is needed here is in storage, at the backend or in our
database. A run is said to have a launch before it has: whoever dies in between leaves none that nobody sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.contract import Cause, Outcome, Result, StepKind
from orchestrator.reasons import REASONS, Reason
from orchestrator.runs import Intent, Keep, Observation, Phase, Status

MAX_FAILURES = 2
MAX_LOST_WITHOUT_PROGRESS = 10
# A cluster's Job waits 10, 20, 40, at last 600 seconds before each next pod, however long the last one ran
# (Kubernetes' controller/job/backoff_utils.go); a new Job does not.
MAX_ATTEMPTS_OF_A_LAUNCH = 3

_CAUSES: Mapping[Cause, Reason] = {
    Cause.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    Cause.KILLED: Reason.LOST,
    Cause.STORAGE: Reason.STORAGE,
    Cause.STORAGE_AWAY: Reason.STORAGE_AWAY,
    Cause.CONFIG: Reason.CONFIG,
    Cause.DATA: Reason.DATA,
    Cause.CRASHED: Reason.CRASHED,
    Cause.STOPPED: Reason.RESUMING,
    Cause.FENCED: Reason.RESUMING,
}


@dataclass(frozen=True)
class LaunchView:
    """One launch as it stands: what the backend saw and what its newest attempt said.

    `attempts` is how many of it ever started; `started` whether its newest one trains, which has
    written its first record and was not interrupted; `progress` is the highest step its attempts have a whole
    checkpoint of, `saved` when that was committed; `stalled` whether it was stopped for making no progress.
    """

    number: int
    step: StepKind
    observation: Observation
    outcome: Outcome | None = None
    attempts: int = 0
    started: bool = False
    progress: int = 0
    saved: float | None = None
    micro_batch_size: int | None = None
    stalled: bool = False

    @property
    def claimed(self) -> bool:
        return self.attempts > 0

    @property
    def has_said_all(self) -> bool:
        """Whether no other attempt of it can follow, by its own words: it succeeded, or failed for good."""
        if self.outcome is None or self.outcome.result is Result.SUCCESS:
            return self.outcome is not None
        cause = self.outcome.cause
        return cause is not None and not REASONS[_CAUSES[cause]].retryable


@dataclass(frozen=True)
class Stall:
    """Training that makes no progress: what to say of it, and whether it has lasted too long."""

    words: str
    too_long: bool = False


@dataclass(frozen=True)
class RunView:
    """What `decide` must know of a run besides its launches; `full` tells which disk has no room for more."""

    status: Status
    intent: Intent
    evaluate: bool
    published: bool
    training_seconds: float = 0.0
    max_seconds: float | None = None
    stall: Stall | None = None
    keep: Keep | None = None
    full: str | None = None


@dataclass(frozen=True)
class Move:
    """Set the run's status, its reason and the sentence that goes with it."""

    status: Status
    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True)
class Launch:
    """Make the next launch of a step, or the one numbered `number` again where its making was cut off.

    `micro_batch_size` is given where it must differ from the config's own.
    """

    step: StepKind
    micro_batch_size: int | None = None
    number: int | None = None


@dataclass(frozen=True)
class Stop:
    """Ask a launch to leave; `stalled` where that is for making no progress."""

    number: int
    stalled: bool = False


@dataclass(frozen=True)
class Publish:
    """Push the adapter to every registry that has not confirmed it yet."""


@dataclass(frozen=True)
class Cancel:
    """End the run as cancelled, with what the user wants to keep of it as its adapter."""

    keep: Keep


Action = Move | Launch | Stop | Publish | Cancel


def decide(run: RunView, launches: Sequence[LaunchView]) -> list[Action]:
    """What to do next, in order; the same answer for the same facts, nothing left to do when empty."""
    actions = _decide(run, launches)
    launch = next((action for action in actions if isinstance(action, Launch)), None)
    if launch is None or run.full is None:
        return actions
    status = run.status if run.status is Status.QUEUED else _WAITING[launch.step]
    return [Move(status, Reason.DISK, run.full)]


def _decide(run: RunView, launches: Sequence[LaunchView]) -> list[Action]:
    if run.status.final:
        return []
    current = launches[-1] if launches else None
    if run.intent is not Intent.RUN:
        return _wind_down(run, current)
    if current is None:
        return [Move(Status.PREPARING, Reason.STARTING), Launch("prepare")]
    if current.observation.phase is Phase.UNKNOWN:
        return _unseen(run, current, launches)
    if current.observation.phase is Phase.MISSING and not current.claimed:
        return [_waiting_for(current.step), _made_again(current)]
    if current.observation.alive:
        return _alive(run, current, launches)
    return _ended(run, current, launches)


def _wind_down(run: RunView, current: LaunchView | None) -> list[Action]:
    end = Status.CANCELLED if run.intent is Intent.CANCEL else Status.PAUSED
    if current and current.observation.phase is Phase.UNKNOWN and not current.has_said_all:
        return [Move(run.status, Reason.UNKNOWN, current.observation.detail)]
    if current and current.observation.alive:
        stuck = current.observation.reason is Reason.STUCK
        stopping = Move(run.status, Reason.STUCK, current.observation.detail) if stuck else None
        return [Stop(current.number), stopping or Move(run.status, Reason.STOPPING)]
    if end is Status.CANCELLED and run.keep is not None:
        return [Cancel(run.keep)]
    return [Move(end, Reason.BY_USER)]


def _unseen(run: RunView, current: LaunchView, launches: Sequence[LaunchView]) -> list[Action]:
    """The backend cannot be asked. What storage says may end the run all the same; but nothing more is
    launched, since the device may not be free yet."""
    actions = _ended(run, current, launches) if current.has_said_all else []
    if actions and not any(isinstance(action, Launch) for action in actions):
        return actions
    return [Move(run.status, Reason.UNKNOWN, current.observation.detail)]


def _made_again(current: LaunchView) -> Launch:
    return Launch(current.step, current.micro_batch_size, current.number)


def _alive(run: RunView, current: LaunchView, launches: Sequence[LaunchView]) -> list[Action]:
    if _is_over_time(run, current):
        return [Stop(current.number), Move(run.status, Reason.STOPPING, "compute.max_hours is reached")]
    seen = current.observation
    if seen.reason is Reason.SCRATCH:  # the backend would start it again and again
        return [Stop(current.number), Move(Status.FAILED, Reason.SCRATCH, seen.detail)]
    if seen.resting and current.attempts >= MAX_ATTEMPTS_OF_A_LAUNCH:
        words = "another launch goes on, which the cluster does not keep waiting"
        return [Stop(current.number), Move(_WAITING[current.step], Reason.RESUMING, words)]
    if seen.phase is Phase.PENDING:
        return [Move(_WAITING[current.step], seen.reason or Reason.STARTING, seen.detail)]
    if seen.reason:
        return [Move(run.status, seen.reason, seen.detail)]
    if current.stalled or (run.stall and run.stall.too_long):
        words = "it is stopped, to go on from its newest checkpoint"
        return [Stop(current.number, stalled=True), Move(run.status, Reason.STALLED, words)]
    if run.stall:
        return [Move(run.status, Reason.STALLED, run.stall.words)]
    if current.step == "prepare":
        return [Move(Status.PREPARING)]
    if current.step == "evaluate":
        return [Move(Status.EVALUATING)]
    if current.started:
        return [Move(Status.TRAINING)]
    goes_on = any(launch.progress for launch in launches)
    return [_waiting_for("train", Reason.RESUMING if goes_on else Reason.STARTING)]


def _is_over_time(run: RunView, current: LaunchView) -> bool:
    limit = run.max_seconds
    return current.step == "train" and limit is not None and run.training_seconds >= limit


def _ended(run: RunView, current: LaunchView, launches: Sequence[LaunchView]) -> list[Action]:
    outcome = current.outcome
    if outcome is not None and outcome.result is Result.SUCCESS:
        return _next_step(run, current.step)
    if _is_over_time(run, current):
        return [Move(Status.FAILED, Reason.TIME_LIMIT)]
    if current.stalled:
        return _again_or_fail(current, launches, Reason.STALLED, "it stalled again in each new launch")
    if outcome is None:
        return _vanished(current, launches)
    reason = _CAUSES[outcome.cause] if outcome.cause else Reason.CRASHED
    if reason is Reason.OUT_OF_MEMORY:
        return _less_memory(current, launches, outcome.message)
    if reason is Reason.LOST:
        return _vanished(current, launches)
    return _again_or_fail(current, launches, reason, outcome.message)


def _next_step(run: RunView, done: StepKind) -> list[Action]:
    if done == "prepare":
        return [_waiting_for("train"), Launch("train")]
    if done == "train" and run.evaluate:
        return [Move(Status.EVALUATING, Reason.STARTING), Launch("evaluate")]
    return [Move(Status.SUCCEEDED)] if run.published else [Publish()]


def _vanished(current: LaunchView, launches: Sequence[LaunchView]) -> list[Action]:
    """No outcome: killed from outside, which never counts, or never started, which does."""
    seen = current.observation
    if seen.reason is Reason.OUT_OF_MEMORY:
        return _less_memory(current, launches, seen.detail)
    if seen.reason is Reason.DEADLINE or not current.claimed:
        return _again_or_fail(current, launches, seen.reason or Reason.NOT_STARTED, seen.detail)
    if _lost_in_a_row(launches) >= MAX_LOST_WITHOUT_PROGRESS:
        return [Move(Status.FAILED, Reason.LOST, current.observation.detail)]
    return [_waiting_for(current.step, Reason.RESUMING), Launch(current.step, current.micro_batch_size)]


def _lost_in_a_row(launches: Sequence[LaunchView]) -> int:
    """How many of the newest launches vanished without a checkpoint beyond the one they began with."""
    count = 0
    for launch, before in zip(reversed(launches), [*reversed(launches[:-1]), None], strict=True):
        reached = before.progress if before and before.step == launch.step else 0
        if not _is_lost(launch) or launch.progress > reached:
            break
        count += 1
        if before is None or before.step != launch.step:
            break
    return count


def _is_lost(launch: LaunchView) -> bool:
    return launch.claimed and (launch.outcome is None or launch.outcome.cause is Cause.KILLED)


def _less_memory(current: LaunchView, launches: Sequence[LaunchView], message: str) -> list[Action]:
    """Once more with half the micro batch and twice the accumulation: the same effective batch."""
    micro = current.micro_batch_size or 1
    halved = any(each.step == current.step and (each.micro_batch_size or 0) > micro for each in launches)
    if current.step != "train" or halved or micro < 2 or micro % 2:
        return [Move(Status.FAILED, Reason.OUT_OF_MEMORY, message)]
    return [_waiting_for("train", Reason.OUT_OF_MEMORY), Launch("train", micro // 2)]


def _again_or_fail(
    current: LaunchView, launches: Sequence[LaunchView], reason: Reason, message: str
) -> list[Action]:
    facts = REASONS[reason]
    if not facts.retryable or (facts.counts and _failures(launches, current.step) > MAX_FAILURES):
        return [Move(Status.FAILED, reason, message)]
    return [_waiting_for(current.step, Reason.RESUMING), Launch(current.step, current.micro_batch_size)]


def _failures(launches: Sequence[LaunchView], step: StepKind) -> int:
    """Launches of a step that ended by a reason that counts."""
    return sum(1 for launch in launches if launch.step == step and _counts(launch))


def _counts(launch: LaunchView) -> bool:
    if launch.stalled:
        return True
    if launch.outcome is None:
        seen = launch.observation.reason or Reason.NOT_STARTED
        return not launch.claimed and REASONS[seen].counts
    cause = launch.outcome.cause
    return cause is not None and REASONS[_CAUSES[cause]].counts


_WAITING: Mapping[StepKind, Status] = {
    "prepare": Status.PREPARING,
    "train": Status.WAITING,
    "evaluate": Status.EVALUATING,
}


def _waiting_for(step: StepKind, reason: Reason = Reason.STARTING) -> Move:
    return Move(_WAITING[step], reason)
