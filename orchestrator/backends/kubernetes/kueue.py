"""What Kueue says of a launch that stands in a queue: pure functions from its objects to words and a reason.

Kueue makes a Workload for each Job with a queue's name, and lets the Job go by ending its suspension. What
the conditions mean is read from Kueue 0.19 (apis/kueue/v1beta2/workload_types.go, and for their messages,
which change less between releases than their reasons, pkg/controller/core/workload_controller.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.backends.kubernetes.objects import QUEUE, condition, kept_metadata, met, text
from orchestrator.reasons import Reason

EXACT_AHEAD = 10  # beyond it, tens: a place that changes by one is no news

Object = Mapping[str, Any]

# Who is told to leave by Kueue without this is EVICTED.
_EVICTIONS: Mapping[str, Reason] = {"Preempted": Reason.PREEMPTED, "PodsReadyTimeout": Reason.SLOW_START}
_LACK = re.compile(r"insufficient unused quota for (\S+) in flavor ([^\s,]+), (\S+) more needed")
_TOO_MUCH = re.compile(
    r"insufficient quota for (\S+) in flavor ([^\s,]+), previously considered podsets requests \(\S+\) "
    r"\+ current podset request \((\S+)\) > maximum capacity \((\S+)\)"
)
_UNFIT = re.compile(r"unavailable in ClusterQueue|untolerated taint|doesn't match node affinity|not found")


@dataclass(frozen=True)
class Place:
    """Where a suspended Job stands: its Workload, if it has one, and how many are before it in its queue."""

    workload: Object | None = None
    ahead: int | None = None
    kueue: bool = True
    unseen: str = ""  # why nothing of Kueue can be seen, where that is so


def kept_of_workload(workload: Object) -> Object:
    """What of a Workload is read here."""
    status = workload.get("status") or {}
    return {
        "metadata": kept_metadata(workload),
        "spec": {"active": workload["spec"].get("active")},
        "status": {
            "conditions": status.get("conditions") or [],
            "admissionChecks": status.get("admissionChecks") or [],
        },
    }


def launch_of_workload(name: str) -> str:
    """Kueue calls a Job's Workload `job-<its name>-<five letters>`."""
    return name.removeprefix("job-").rpartition("-")[0]


def queue_of(job: Object) -> str | None:
    """The queue that a Job is in."""
    found = met(job, "metadata", "labels", QUEUE)
    return found if isinstance(found, str) else None


def told_of(job: Object, place: Place) -> tuple[str, Reason]:
    """Why a suspended Job waits, in words."""
    queue = queue_of(job)
    if queue is None:
        return _command("job", job, '{"spec":{"suspend":false}}'), Reason.SUSPENDED
    if not place.kueue:
        return f"the cluster has no Kueue, so it has no queue {queue} either", Reason.NO_QUEUE
    if place.workload is None:
        return place.unseen or f"Kueue has not taken it into the queue {queue} yet", Reason.QUEUED
    return _of_workload(queue, place.workload, place.ahead)


def _of_workload(queue: str, workload: Object, ahead: int | None) -> tuple[str, Reason]:
    evicted = condition(workload, "Evicted")
    why = _EVICTIONS.get(text(evicted, "reason"), Reason.EVICTED) if evicted else Reason.QUEUED
    if met(workload, "spec", "active") is False:
        command = _command("workload", workload, '{"spec":{"active":true}}')
        words = text(evicted, "message") or f"it was taken out of the queue {queue}"
        return f"{words}: {command}", Reason.QUEUE_STOPPED
    if condition(workload, "Admitted"):
        return "", Reason.STARTING
    if condition(workload, "QuotaReserved"):
        return f"it has its place in the queue {queue}, and waits for {_checks(workload)}", Reason.QUEUED
    waits = text(condition(workload, "QuotaReserved", "False"), "message")
    if "doesn't exist" in waits or "or missing" in waits:
        return waits, Reason.NO_QUEUE
    if waits.endswith("is inactive"):
        return waits, Reason.QUEUE_STOPPED
    if _is_hopeless(waits):
        return f"the queue {queue} never has room for it: {_too_much(waits)}", Reason.NO_QUOTA
    if waits == text(evicted, "message"):  # who took its place is told by UIDs, which say nothing to a user
        waits = ""
    return "; ".join(filter(None, (_position(queue, ahead), _lacks(waits)))), why


def _position(queue: str, ahead: int | None) -> str:
    match ahead:
        case None:
            return f"it is in the queue {queue}"
        case 0:
            return f"it is next in the queue {queue}"
        case few if few < EXACT_AHEAD:
            return f"{few} before it in the queue {queue}"
        case many:
            return f"about {many // 10 * 10} before it in the queue {queue}"


def _lacks(message: str) -> str:
    """What the quota lacks; Kueue's own words where they say something else."""
    found = dict.fromkeys(f"{n} {what} of {flavor}" for what, flavor, n in _LACK.findall(message))
    return f"the quota lacks {', '.join(found)}" if found else message


def _is_hopeless(message: str) -> bool:
    """Whether no flavor will ever do, whoever else leaves."""
    lacking = {flavor for _, flavor, _ in _LACK.findall(message)}
    too_small = {flavor for _, flavor, *_ in _TOO_MUCH.findall(message)}
    return bool(too_small or _UNFIT.search(message)) and not lacking - too_small


def _too_much(message: str) -> str:
    found = dict.fromkeys(
        f"it asks for {wanted} {what}, and {flavor} has {most} in all"
        for what, flavor, wanted, most in _TOO_MUCH.findall(message)
    )
    return ", ".join(found) or message


def _checks(workload: Object) -> str:
    """The admission checks that are not ready."""
    checks = met(workload, "status", "admissionChecks") or []
    open_ones = [text(each, "name") for each in checks if met(each, "state") != "Ready"]
    return ", ".join(filter(None, open_ones)) or "Kueue to admit it"


def _command(kind: str, thing: Object, patch: str) -> str:
    name, namespace = met(thing, "metadata", "name"), met(thing, "metadata", "namespace")
    return f"kubectl patch {kind} {name} --namespace {namespace} --type merge -p '{patch}'"
