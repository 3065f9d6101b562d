"""A run's life: its statuses, the reasons for them, and the one pure function that decides.

         a           b              c            d             f               f               g
    submit ─> queued ──> preparing ──> waiting ──> training ──> evaluating ──> publishing ──> succeeded
                                          ^            │        (skipped where nobody asked for it)
                                          └──── e ─────┘
    from every state:  h ──> failed    i ──> cancelled    j ──> paused ── resumed ──> waiting

    a submitted · b prepare launched · c data proven, train launched · d trainer started
    e evicted, killed or retried · f adapter whole · g every registry confirmed by digest
    h a reason that ends it · i the user cancelled · j the user paused

Intent is what the user wants (run, pause, cancel); status is what is. A pass may run twice or die
anywhere: everything `decide` needs is in storage, at the backend or in our database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from orchestrator.contract import Cause, Outcome, Result, StepKind

MAX_FAILURES = 2
MAX_LOST_WITHOUT_PROGRESS = 10


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


class Reason(StrEnum):
    """Why a run waits or has failed."""

    STARTING = "starting"
    RESUMING = "resuming"
    STOPPING = "stopping"
    UNKNOWN = "unknown"
    TROUBLE = "trouble"
    DATA = "data"
    CONFIG = "config"
    OUT_OF_MEMORY = "out_of_memory"
    STORAGE = "storage"
    STORAGE_AWAY = "storage_away"
    CRASHED = "crashed"
    NOT_STARTED = "not_started"
    LOST = "lost"
    BACKEND = "backend"
    REGISTRY_AWAY = "registry_away"
    REGISTRY_REFUSED = "registry_refused"
    TIME_LIMIT = "time_limit"
    BY_USER = "by_user"
    UNSCHEDULABLE = "unschedulable"
    QUEUED = "queued"
    QUOTA = "quota"
    ADMISSION = "admission"
    IMAGE = "image"
    CONTAINER = "container"
    VOLUME = "volume"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    STUCK = "stuck"
    DEADLINE = "deadline"
    DISK = "disk"
    EXPIRES = "expires"
    EXPIRED = "expired"
    SCRATCH = "scratch"
    STALLED = "stalled"
    NO_QUEUE = "no_queue"
    QUEUE_STOPPED = "queue_stopped"
    SLOW_START = "slow_start"
    SUSPENDED = "suspended"


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
    reason where it knows one."""

    phase: Phase
    exit_code: int | None = None
    detail: str = ""
    reason: Reason | None = None

    @property
    def alive(self) -> bool:
        return self.phase in (Phase.PENDING, Phase.RUNNING)


@dataclass(frozen=True)
class ReasonFacts:
    """What a reason means to the user, and to `decide`: try again? does it count as a failure?"""

    sentence: str
    advice: str
    retryable: bool
    counts: bool


REASONS: Mapping[Reason, ReasonFacts] = {
    Reason.STARTING: ReasonFacts("The step's program is starting.", "Wait.", True, False),
    Reason.RESUMING: ReasonFacts(
        "Training was interrupted and goes on from its newest checkpoint.", "Wait.", True, False
    ),
    Reason.STOPPING: ReasonFacts("Asked to stop; it saves a checkpoint first.", "Wait.", True, False),
    Reason.UNKNOWN: ReasonFacts(
        "The backend cannot be asked, so nothing is known of this run now.",
        "Nothing is lost; look again once the backend answers.",
        True,
        False,
    ),
    Reason.TROUBLE: ReasonFacts(
        "The service itself failed at this run, and tries again.",
        "Nothing is lost; tell the operator what the message says.",
        True,
        False,
    ),
    Reason.DATA: ReasonFacts(
        "The data cannot be trained on.",
        "Read `axo logs`, mend the data or the mapping, run again.",
        False,
        True,
    ),
    Reason.CONFIG: ReasonFacts(
        "The base model or the config cannot be used.",
        "Read `axo logs`, mend the spec, run again.",
        False,
        True,
    ),
    Reason.OUT_OF_MEMORY: ReasonFacts(
        "It ran out of memory.",
        "Set a smaller training.micro_batch_size or training.sequence_len.",
        True,
        True,
    ),
    Reason.STORAGE: ReasonFacts(
        "Storage is full or cannot be written.", "Make room, then run it again.", False, True
    ),
    Reason.STORAGE_AWAY: ReasonFacts(
        "Storage cannot be reached, so nothing is known of this run now.",
        "Nothing is lost; look again once storage answers.",
        True,
        False,
    ),
    Reason.CRASHED: ReasonFacts(
        "The step's program crashed.", "Read `axo logs` for its last words.", True, True
    ),
    Reason.NOT_STARTED: ReasonFacts(
        "The step's program never started.", "Read `axo logs`; check AXO_TRAINER_PYTHON.", True, True
    ),
    Reason.LOST: ReasonFacts(
        "The step's program vanished again and again without getting further.",
        "Look for who kills it: the system's log names an out-of-memory kill.",
        True,
        False,
    ),
    Reason.BACKEND: ReasonFacts(
        "The backend refuses the launch.", "Mend what its message says.", False, True
    ),
    Reason.REGISTRY_AWAY: ReasonFacts(
        "A registry cannot be reached; the adapter is safe in storage and publishing is tried again.",
        "Bring the registry back, or run `axo publish` once it is.",
        True,
        False,
    ),
    Reason.REGISTRY_REFUSED: ReasonFacts(
        "A registry refuses the adapter; it is safe in storage.",
        "Mend what its message says, then `axo publish`.",
        False,
        True,
    ),
    Reason.TIME_LIMIT: ReasonFacts(
        "Training reached compute.max_hours.",
        "Raise compute.max_hours and run again with --new.",
        False,
        True,
    ),
    Reason.BY_USER: ReasonFacts("A user asked for it.", "", False, False),
    Reason.UNSCHEDULABLE: ReasonFacts(
        "No node of the cluster has room for it now.",
        "Wait for another run to end, or choose a smaller compute.machine: the message says what nodes lack.",
        True,
        False,
    ),
    Reason.QUEUED: ReasonFacts("It stands in the cluster's queue.", "Wait for its turn.", True, False),
    Reason.QUOTA: ReasonFacts(
        "The namespace's quota is used up.",
        "Wait for another run to end, or ask the cluster's administrator for more.",
        True,
        False,
    ),
    Reason.ADMISSION: ReasonFacts(
        "The cluster does not admit its pod.",
        "Ask the operator to mend what the message says; it goes on by itself then.",
        True,
        False,
    ),
    Reason.IMAGE: ReasonFacts(
        "Its image cannot be fetched.",
        "Ask the operator to look at the image's name in the settings file and at its registry.",
        True,
        False,
    ),
    Reason.CONTAINER: ReasonFacts(
        "Its container cannot be made.",
        "Ask the operator to mend what the message says, such as a named secret that is not there.",
        True,
        False,
    ),
    Reason.VOLUME: ReasonFacts(
        "Its storage or a secret cannot be mounted.",
        "Ask the operator to mend what the message says; it goes on by itself then.",
        True,
        False,
    ),
    Reason.EVICTED: ReasonFacts(
        "The cluster took its place away; it goes on from its newest checkpoint.", "Wait.", True, False
    ),
    Reason.PREEMPTED: ReasonFacts(
        "More urgent work took its place; it goes on from its newest checkpoint.", "Wait.", True, False
    ),
    Reason.NODE_LOST: ReasonFacts(
        "Its node does not answer; it goes on elsewhere once the cluster gives that node up.",
        "Wait; if the node never comes back, ask the operator to remove it from the cluster.",
        True,
        False,
    ),
    Reason.STUCK: ReasonFacts(
        "It was told to leave and does not go, so nothing can take its place.",
        "Ask the operator to make sure that its node is down, then to run the command in the message.",
        True,
        False,
    ),
    Reason.DEADLINE: ReasonFacts(
        "The cluster's own time limit for a Job was reached.",
        "Ask the operator to raise or remove it, then run again with --new.",
        False,
        True,
    ),
    Reason.STALLED: ReasonFacts(
        "Training makes no progress: none of its steps ends.",
        "Read `axo logs`: checking much held-out data can take so long. `axo pause` and `axo resume` start "
        "it anew from its newest checkpoint; where the settings say so, that happens by itself.",
        True,
        True,
    ),
    Reason.SCRATCH: ReasonFacts(
        "It filled its scratch disk, and would fill it again.",
        "Ask the operator to raise scratch_gib of its machine, then run again with --new.",
        False,
        True,
    ),
    Reason.NO_QUEUE: ReasonFacts(
        "The cluster does not have the queue of compute.queue.",
        "Ask the operator to make it, and it goes on by itself; or name another and run again with --new.",
        True,
        False,
    ),
    Reason.QUEUE_STOPPED: ReasonFacts(
        "The queue lets nothing go now, or this run was taken out of it.",
        "Ask the operator to open the queue, or to run the command in the message where there is one.",
        True,
        False,
    ),
    Reason.SLOW_START: ReasonFacts(
        "Its pod did not start in the time that the queue grants, and it stands in the queue again.",
        "Wait; if it happens again, tell the operator: pulling its image may take too long.",
        True,
        False,
    ),
    Reason.SUSPENDED: ReasonFacts(
        "Its Job is suspended, and no queue has it.",
        "Name a compute.queue where the cluster wants one; else the command in the message lets it go on.",
        True,
        False,
    ),
    Reason.DISK: ReasonFacts(
        "A disk of the service is nearly full, so nothing new is launched.",
        "Wait, or `axo delete` runs that nobody needs; the operator can make room.",
        True,
        False,
    ),
    Reason.EXPIRES: ReasonFacts(
        "It is temporary, and its adapter and checkpoints go soon.",
        "Pull what you want to keep, or `axo models pin` it.",
        False,
        False,
    ),
    Reason.EXPIRED: ReasonFacts(
        "It was temporary, and its adapter and checkpoints are gone.",
        "`axo clone` it to train it again.",
        False,
        False,
    ),
}

_CAUSES: Mapping[Cause, Reason] = {
    Cause.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    Cause.KILLED: Reason.LOST,
    Cause.STORAGE: Reason.STORAGE,
    Cause.CONFIG: Reason.CONFIG,
    Cause.DATA: Reason.DATA,
    Cause.CRASHED: Reason.CRASHED,
    Cause.STOPPED: Reason.RESUMING,
    Cause.FENCED: Reason.RESUMING,
}


@dataclass(frozen=True)
class LaunchView:
    """One launch as it stands: what the backend saw and what its newest attempt said.

    `claimed` is whether any attempt of it ever started; `started` whether the trainer wrote its
    first record; `progress` is the highest step its attempts have a whole checkpoint of, `saved` when that
    was committed; `stalled` whether it was stopped for making no progress.
    """

    number: int
    step: StepKind
    observation: Observation
    outcome: Outcome | None = None
    claimed: bool = False
    started: bool = False
    progress: int = 0
    saved: float | None = None
    micro_batch_size: int | None = None
    stalled: bool = False


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
        return [Move(run.status, Reason.UNKNOWN, current.observation.detail)]
    if current.observation.phase is Phase.MISSING and not current.claimed:
        return [_waiting_for(current.step), _made_again(current)]
    if current.observation.alive:
        return _alive(run, current)
    return _ended(run, current, launches)


def _wind_down(run: RunView, current: LaunchView | None) -> list[Action]:
    end = Status.CANCELLED if run.intent is Intent.CANCEL else Status.PAUSED
    if current and current.observation.phase is Phase.UNKNOWN:
        return [Move(run.status, Reason.UNKNOWN, current.observation.detail)]
    if current and current.observation.alive:
        stuck = current.observation.reason is Reason.STUCK
        stopping = Move(run.status, Reason.STUCK, current.observation.detail) if stuck else None
        return [Stop(current.number), stopping or Move(run.status, Reason.STOPPING)]
    if end is Status.CANCELLED and run.keep is not None:
        return [Cancel(run.keep)]
    return [Move(end, Reason.BY_USER)]


def _made_again(current: LaunchView) -> Launch:
    return Launch(current.step, current.micro_batch_size, current.number)


def _alive(run: RunView, current: LaunchView) -> list[Action]:
    if _is_over_time(run, current):
        return [Stop(current.number), Move(run.status, Reason.STOPPING, "compute.max_hours is reached")]
    seen = current.observation
    if seen.reason is Reason.SCRATCH:  # the backend would start it again and again
        return [Stop(current.number), Move(Status.FAILED, Reason.SCRATCH, seen.detail)]
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
    return [Move(Status.TRAINING)] if current.started else [_waiting_for("train")]


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


_WAITING: Mapping[Literal["prepare", "train", "evaluate"], Status] = {
    "prepare": Status.PREPARING,
    "train": Status.WAITING,
    "evaluate": Status.EVALUATING,
}


def _waiting_for(step: StepKind, reason: Reason = Reason.STARTING) -> Move:
    return Move(_WAITING[step], reason)
