"""A run's life: its statuses, what the user wants of it, and the reasons why it waits or has ended.

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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


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
    NO_QUOTA = "no_quota"
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
    Reason.STOPPING: ReasonFacts("Asked to stop; what is to be kept is saved first.", "Wait.", True, False),
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
    Reason.NO_QUOTA: ReasonFacts(
        "Its queue has no quota that could ever hold it.",
        "Choose a smaller compute.machine or another compute.queue and run again with --new; or ask the "
        "operator for the quota: it goes on by itself then.",
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
