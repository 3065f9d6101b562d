"""Why a run waits or has ended: every reason, with what it means to the user and to the controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
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


@dataclass(frozen=True)
class ReasonFacts:
    """What a reason means to the user, and to `decide`: try again? does it count as a failure?"""

    sentence: str
    advice: str
    retryable: bool
    counts: bool


def _passing(sentence: str, advice: str) -> ReasonFacts:
    """No failure of the run's own: it goes on by itself."""
    return ReasonFacts(sentence, advice, retryable=True, counts=False)


def _failing(sentence: str, advice: str) -> ReasonFacts:
    """A failure after which the step is tried again, a few times."""
    return ReasonFacts(sentence, advice, retryable=True, counts=True)


def _ending(sentence: str, advice: str) -> ReasonFacts:
    """A failure that trying again would not mend."""
    return ReasonFacts(sentence, advice, retryable=False, counts=True)


def _noted(sentence: str, advice: str) -> ReasonFacts:
    """No failure, and nothing to try again."""
    return ReasonFacts(sentence, advice, retryable=False, counts=False)


REASONS: Mapping[Reason, ReasonFacts] = {
    Reason.STARTING: _passing("The step's program is starting.", "Wait."),
    Reason.RESUMING: _passing("Training was interrupted and goes on from its newest checkpoint.", "Wait."),
    Reason.STOPPING: _passing("Asked to stop; what is to be kept is saved first.", "Wait."),
    Reason.UNKNOWN: _passing(
        "The backend cannot be asked, so nothing is known of this run now.",
        "Nothing is lost; look again once the backend answers.",
    ),
    Reason.TROUBLE: _passing(
        "The service itself failed at this run, and tries again.",
        "Nothing is lost; tell the operator what the message says.",
    ),
    Reason.DATA: _ending(
        "The data cannot be trained on.", "Read `axo logs`, mend the data or the mapping, run again."
    ),
    Reason.CONFIG: _ending(
        "The base model or the config cannot be used.", "Read `axo logs`, mend the spec, run again."
    ),
    Reason.OUT_OF_MEMORY: _failing(
        "It ran out of memory.", "Set a smaller training.micro_batch_size or training.sequence_len."
    ),
    Reason.STORAGE: _ending("Storage is full or cannot be written.", "Make room, then run it again."),
    Reason.STORAGE_AWAY: _passing(
        "Storage cannot be reached, so nothing is known of this run now.",
        "Nothing is lost; look again once storage answers.",
    ),
    Reason.CRASHED: _failing("The step's program crashed.", "Read `axo logs` for its last words."),
    Reason.NOT_STARTED: _failing(
        "The step's program never started.", "Read `axo logs`; check AXO_TRAINER_PYTHON."
    ),
    Reason.LOST: _passing(
        "The step's program vanished again and again without getting further.",
        "Look for who kills it: the system's log names an out-of-memory kill.",
    ),
    Reason.BACKEND: _ending("The backend refuses the launch.", "Mend what its message says."),
    Reason.REGISTRY_AWAY: _passing(
        "A registry cannot be reached; the adapter is safe in storage and publishing is tried again.",
        "Bring the registry back, or run `axo publish` once it is.",
    ),
    Reason.REGISTRY_REFUSED: _ending(
        "A registry refuses the adapter; it is safe in storage.",
        "Mend what its message says, then `axo publish`.",
    ),
    Reason.TIME_LIMIT: _ending(
        "Training reached compute.max_hours.", "Raise compute.max_hours and run again with --new."
    ),
    Reason.BY_USER: _noted("A user asked for it.", ""),
    Reason.UNSCHEDULABLE: _passing(
        "No node of the cluster has room for it now.",
        "Wait for another run to end, or choose a smaller compute.machine: the message says what nodes lack.",
    ),
    Reason.QUEUED: _passing("It stands in the cluster's queue.", "Wait for its turn."),
    Reason.QUOTA: _passing(
        "The namespace's quota is used up.",
        "Wait for another run to end, or ask the cluster's administrator for more.",
    ),
    Reason.ADMISSION: _passing(
        "The cluster does not admit its pod.",
        "Ask the operator to mend what the message says; it goes on by itself then.",
    ),
    Reason.IMAGE: _passing(
        "Its image cannot be fetched.",
        "Ask the operator to look at the image's name in the settings file and at its registry.",
    ),
    Reason.CONTAINER: _passing(
        "Its container cannot be made.",
        "Ask the operator to mend what the message says, such as a named secret that is not there.",
    ),
    Reason.VOLUME: _passing(
        "Its storage or a secret cannot be mounted.",
        "Ask the operator to mend what the message says; it goes on by itself then.",
    ),
    Reason.EVICTED: _passing(
        "The cluster took its place away; it goes on from its newest checkpoint.", "Wait."
    ),
    Reason.PREEMPTED: _passing(
        "More urgent work took its place; it goes on from its newest checkpoint.", "Wait."
    ),
    Reason.NODE_LOST: _passing(
        "Its node does not answer; it goes on elsewhere once the cluster gives that node up.",
        "Wait; if the node never comes back, ask the operator to remove it from the cluster.",
    ),
    Reason.STUCK: _passing(
        "It was told to leave and does not go, so nothing can take its place.",
        "Ask the operator to make sure that its node is down, then to run the command in the message.",
    ),
    Reason.DEADLINE: _ending(
        "The cluster's own time limit for a Job was reached.",
        "Ask the operator to raise or remove it, then run again with --new.",
    ),
    Reason.STALLED: _failing(
        "Training makes no progress: none of its steps ends.",
        "Read `axo logs`: checking much held-out data can take so long. `axo pause` and `axo resume` start "
        "it anew from its newest checkpoint; where the settings say so, that happens by itself.",
    ),
    Reason.SCRATCH: _ending(
        "It filled its scratch disk, and would fill it again.",
        "Ask the operator to raise scratch_gib of its machine, then run again with --new.",
    ),
    Reason.NO_QUEUE: _passing(
        "The cluster does not have the queue of compute.queue.",
        "Ask the operator to make it, and it goes on by itself; or name another and run again with --new.",
    ),
    Reason.NO_QUOTA: _passing(
        "Its queue has no quota that could ever hold it.",
        "Choose a smaller compute.machine or another compute.queue and run again with --new; or ask the "
        "operator for the quota: it goes on by itself then.",
    ),
    Reason.QUEUE_STOPPED: _passing(
        "The queue lets nothing go now, or this run was taken out of it.",
        "Ask the operator to open the queue, or to run the command in the message where there is one.",
    ),
    Reason.SLOW_START: _passing(
        "Its pod did not start in the time that the queue grants, and it stands in the queue again.",
        "Wait; if it happens again, tell the operator: pulling its image may take too long.",
    ),
    Reason.SUSPENDED: _passing(
        "Its Job is suspended, and no queue has it.",
        "Name a compute.queue where the cluster wants one; else the command in the message lets it go on.",
    ),
    Reason.DISK: _passing(
        "A disk of the service is nearly full, so nothing new is launched.",
        "Wait, or `axo delete` runs that nobody needs; the operator can make room.",
    ),
    Reason.EXPIRES: _noted(
        "It is temporary, and its adapter and checkpoints go soon.",
        "Pull what you want to keep, or `axo models pin` it.",
    ),
    Reason.EXPIRED: _noted(
        "It was temporary, and its adapter and checkpoints are gone.", "`axo clone` it to train it again."
    ),
}
