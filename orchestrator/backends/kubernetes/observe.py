"""What a Job and its pods say of a launch: pure functions from the cluster's objects to an observation.

Objects are as the API server sent them, and are not trusted: one that lacks what it should have is read
as far as it goes. A condition `Complete` or `Failed` ends a Job; until then its newest pod tells. What the
words of the cluster mean stands in the tables below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.backends.kubernetes.objects import (
    QUEUE,
    condition,
    items,
    kept_metadata,
    met,
    seconds,
    text,
)
from orchestrator.backends.kubernetes.scheduling import in_plain_words
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase

CONTAINER = "step"
INTERRUPTED = 75
STUCK_SECONDS = 120.0  # beyond its grace, after which the kubelet would have killed it

Object = Mapping[str, Any]

# Why a container does not start yet (the kubelet's images/types.go and container/sync_result.go).
_WAITING: Mapping[str, Reason] = {
    "ErrImagePull": Reason.IMAGE,
    "ImagePullBackOff": Reason.IMAGE,
    "ErrImageNeverPull": Reason.IMAGE,
    "InvalidImageName": Reason.IMAGE,
    "ImageInspectError": Reason.IMAGE,
    "RegistryUnavailable": Reason.IMAGE,
    "CreateContainerConfigError": Reason.CONTAINER,
    "CreateContainerError": Reason.CONTAINER,
    "RunContainerError": Reason.CONTAINER,
}
# Who takes a pod away (the reasons of its condition DisruptionTarget); any other is EVICTED too.
_DISRUPTIONS: Mapping[str, Reason] = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
# What a pod says that the kubelet evicted for what it wrote itself, and not for the node's sake: another one
# would fare no better (the kubelet's eviction/helpers.go).
_OWN_SCRATCH = re.compile(
    r"Usage of EmptyDir volume .+ exceeds the limit"
    r"|Pod ephemeral local storage usage exceeds the total limit"
    r"|Container .+ exceeded its local ephemeral storage limit"
)
_POD_STATUS = ("phase", "message", "conditions", "containerStatuses")
_VOLUME_EVENTS = ("FailedMount", "FailedAttachVolume")


def observation(
    job: Object,
    pods: Sequence[Object],
    events: Sequence[Object],
    now: float,
    waits: tuple[str, Reason] | None = None,
) -> Observation:
    """What is known of a launch; `events` are those about the Job and its pods, `now` seconds since 1970.
    `waits` says why a suspended Job waits, None of one that is not."""
    pod = _newest(pods)
    if ended := _ended(job, pod):
        return ended
    if pod is None:
        return Observation(Phase.PENDING, None, *waits) if waits else _without_pod(job, events)
    if stuck := _stuck(pod, now):
        return stuck
    if full := next((words for each in pods if _OWN_SCRATCH.search(words := _pod_words(each))), None):
        return Observation(Phase.RUNNING, None, full.strip(), Reason.SCRATCH)
    if met(job, "metadata", "deletionTimestamp"):
        return Observation(Phase.RUNNING, detail="it was told to leave")
    seen = _of_pod(job, pod, events)
    return _suspended(seen, pod, *waits) if waits else seen


def kept_of_job(job: Object) -> Object:
    """What of a Job is read here, and whose it is."""
    status = job.get("status") or {}
    return {
        "metadata": kept_metadata(job),
        "spec": {"suspend": job["spec"].get("suspend")},
        "status": {"conditions": status.get("conditions") or []},
    }


def kept_of_pod(pod: Object) -> Object:
    """What of a pod is read here."""
    status = pod.get("status") or {}
    containers = (
        {"name": each["name"], "resources": each.get("resources")} for each in pod["spec"]["containers"]
    )
    return {
        "metadata": kept_metadata(pod),
        "spec": {"containers": list(containers)},
        "status": {key: status[key] for key in _POD_STATUS if key in status},
    }


def has_ended(job: Object) -> bool:
    return (condition(job, "Complete") or condition(job, "Failed")) is not None


def is_suspended(job: Object) -> bool:
    """Whether it may have no pod now, and goes on later."""
    return met(job, "spec", "suspend") is True and not has_ended(job)


def needs_events(job: Object, pods: Sequence[Object]) -> bool:
    """Whether events could say more than the objects do."""
    if has_ended(job) or is_suspended(job):
        return False
    pod = _newest(pods)
    return pod is None or (met(pod, "status", "phase") == "Pending" and not _is_unschedulable(pod))


def _ended(job: Object, pod: Object | None) -> Observation | None:
    if done := condition(job, "Complete"):
        return Observation(Phase.ENDED, 0, text(done, "message"))
    failed = condition(job, "Failed")
    if not failed:
        return None
    if failed.get("reason") == "DeadlineExceeded":
        return Observation(Phase.ENDED, None, text(failed, "message"), Reason.DEADLINE)
    left = _terminated(pod)
    code = left.get("exitCode")
    words = text(left, "message").strip() or _pod_words(pod) or text(failed, "message")
    detail = f"its program left with exit code {code}: {words}" if left else words
    memory = Reason.OUT_OF_MEMORY if left.get("reason") == "OOMKilled" else None
    if memory:
        detail = f"it used more memory than its limit of {_memory_limit(pod)}"
    return Observation(Phase.ENDED, code if isinstance(code, int) else None, detail, memory)


def _without_pod(job: Object, events: Sequence[Object]) -> Observation:
    refused = _newest_event(events, ("FailedCreate",))
    if refused:
        reason = Reason.QUOTA if "exceeded quota" in refused else Reason.ADMISSION
        return Observation(Phase.PENDING, None, refused, reason)
    return Observation(Phase.PENDING, None, "", Reason.STARTING, _rests(job))


def _rests(job: Object) -> bool:
    """Whether a Job without a living pod only lets time pass; one of a queue keeps its place there."""
    return met(job, "metadata", "labels", QUEUE) is None


def _stuck(pod: Object, now: float) -> Observation | None:
    """A pod that should have been killed long ago: only its node could say that it is gone."""
    told = seconds(met(pod, "metadata", "deletionTimestamp"))  # when its grace is over
    if told is None or now < told + STUCK_SECONDS:
        return None
    name, namespace = met(pod, "metadata", "name"), met(pod, "metadata", "namespace")
    command = f"kubectl delete pod {name} --namespace {namespace} --grace-period=0 --force"
    return Observation(Phase.RUNNING, None, command, Reason.STUCK)


def _suspended(seen: Observation, pod: Object, detail: str, reason: Reason) -> Observation:
    """What a pod says that is still there: it is on its way out, for the reason that its Job is suspended."""
    if seen.phase is Phase.PENDING:
        return Observation(Phase.PENDING, None, detail, reason)
    if met(pod, "status", "phase") != "Running":
        return seen
    return Observation(Phase.RUNNING, None, detail, None if reason is Reason.QUEUED else reason)


def _of_pod(job: Object, pod: Object, events: Sequence[Object]) -> Observation:
    disrupted = condition(pod, "DisruptionTarget")
    taken = _DISRUPTIONS.get(text(disrupted, "reason"), Reason.EVICTED) if disrupted else None
    leaving = met(pod, "metadata", "deletionTimestamp") is not None
    match met(pod, "status", "phase"):
        case "Pending":
            detail, reason = _of_pending(pod, events)
            return Observation(Phase.PENDING, None, detail, reason)
        case "Running" if leaving:
            return Observation(Phase.RUNNING, None, text(disrupted, "message"), taken)
        case "Running" if _is_out_of_touch(pod):
            return Observation(Phase.RUNNING, None, "", Reason.NODE_LOST)
        case "Running":
            return Observation(Phase.RUNNING)
        case "Failed" if taken or _terminated(pod).get("exitCode") == INTERRUPTED:
            words, reason = text(disrupted, "message"), taken or Reason.RESUMING
            return Observation(Phase.PENDING, None, words, reason, _rests(job))
        case "Succeeded" | "Failed":
            return Observation(Phase.RUNNING, detail="its pod has ended, and the Job is being counted")
        case other:
            return Observation(Phase.UNKNOWN, detail=f"its pod is in the phase {other!r}")


def _is_out_of_touch(pod: Object) -> bool:
    """Whether no more is heard of a pod's node: the node controller then calls the pod not ready, and leaves
    the kubelet's last word on its containers (MarkPodsNotReady of its controller_utils.go)."""
    return all(condition(pod, kind, said) for kind, said in (("Ready", "False"), ("ContainersReady", "True")))


def _of_pending(pod: Object, events: Sequence[Object]) -> tuple[str, Reason]:
    if _is_unschedulable(pod):
        words = text(condition(pod, "PodScheduled", "False"), "message")
        return in_plain_words(words), Reason.UNSCHEDULABLE
    waiting = _state(pod, "waiting")
    if reason := _WAITING.get(text(waiting, "reason")):
        return text(waiting, "message") or text(waiting, "reason"), reason
    mount = _newest_event(events, _VOLUME_EVENTS)
    return (mount, Reason.VOLUME) if mount else ("", Reason.STARTING)


def _is_unschedulable(pod: Object) -> bool:
    return text(condition(pod, "PodScheduled", "False"), "reason") == "Unschedulable"


def _newest(pods: Sequence[Object]) -> Object | None:
    """The pod that was made last; those that are not pods at all count as none."""
    known = [pod for pod in pods if isinstance(met(pod, "metadata", "creationTimestamp"), str)]
    return max(known, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def _newest_event(events: Sequence[Object], reasons: Sequence[str]) -> str:
    found = [event for event in events if met(event, "reason") in reasons]
    times = [str(event.get("lastTimestamp") or event.get("eventTime") or "") for event in found]
    return max(zip(times, (text(event, "message") for event in found), strict=True), default=("", ""))[1]


def _terminated(pod: Object | None) -> Object:
    return _state(pod, "terminated") if pod else {}


def _state(pod: Object, name: str) -> Object:
    """How the step's container waits, runs or has ended."""
    for status in items(met(pod, "status", "containerStatuses")):
        if status.get("name") == CONTAINER:
            state = met(status, "state", name)
            return state if isinstance(state, Mapping) else {}
    return {}


def _pod_words(pod: Object | None) -> str:
    """What the kubelet says of a pod that it ended itself."""
    said = met(pod, "status", "message") if pod else None
    return said if isinstance(said, str) else ""


def _memory_limit(pod: Object | None) -> str:
    containers = items(met(pod, "spec", "containers")) if pod else iter(())
    limits = [
        met(each, "resources", "limits", "memory") for each in containers if each.get("name") == CONTAINER
    ]
    return str(limits[0]) if limits and limits[0] else "the node"
