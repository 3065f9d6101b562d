"""What Kueue's objects say of a launch in a queue, and how little is asked to know it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from orchestrator.backends import BackendAway
from orchestrator.backends.kubernetes.api import NotAllowed, NotThere
from orchestrator.backends.kubernetes.kueue import Place, kept_of_workload, launch_of_workload, told_of
from orchestrator.backends.kubernetes.observe import observation
from orchestrator.backends.kubernetes.queues import Queues
from orchestrator.backends.kubernetes.remembered import Remembered
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase

Object = dict[str, Any]

JOB: Object = {
    "metadata": {
        "name": "a-2",
        "namespace": "training",
        "uid": "u-a",
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"},
    },
    "spec": {"suspend": True},
}
LACK = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor a100, "
    "1 more needed"
)


TOO_MUCH = (
    "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu in flavor a100, "
    "previously considered podsets requests (0) + current podset request (3) > maximum capacity (2)"
)


def said(kind: str, status: str, reason: str = "", message: str = "") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def workload(*conditions: Object, job: str = "a-2", uid: str = "u-a", **spec: Any) -> Object:
    metadata = {"name": f"job-{job}-0a1b2", "namespace": "training", "resourceVersion": "7"}
    return {
        "metadata": {**metadata, "labels": {"kueue.x-k8s.io/job-uid": uid}},
        "spec": spec,
        "status": {"conditions": list(conditions)},
    }


def waits(message: str) -> Object:
    return said("QuotaReserved", "False", "Pending", message)


WAITS = waits(LACK)
TOOK_ITS_PLACE = "Preempted to accommodate a workload (UID: x, JobUID: y) due to prioritization"
PREEMPTED = said("Evicted", "True", "Preempted", TOOK_ITS_PLACE)


@pytest.mark.parametrize(
    ("place", "reason", "words"),
    [
        (Place(kueue=False), Reason.NO_QUEUE, "the cluster has no Kueue, so it has no queue gpus either"),
        (Place(), Reason.QUEUED, "Kueue has not taken it into the queue gpus yet"),
        (Place(unseen="not allowed"), Reason.QUEUED, "not allowed"),
        (Place(workload()), Reason.QUEUED, "it is in the queue gpus"),
        (
            Place(workload(WAITS), 0),
            Reason.QUEUED,
            "it is next in the queue gpus; the quota lacks 1 nvidia.com/gpu of a100",
        ),
        (
            Place(workload(WAITS), 9),
            Reason.QUEUED,
            "9 before it in the queue gpus; the quota lacks 1 nvidia.com/gpu of a100",
        ),
        (
            Place(workload(waits("other words")), 127),
            Reason.QUEUED,
            "about 120 before it in the queue gpus; other words",
        ),
        (
            Place(workload(WAITS, PREEMPTED), 1),
            Reason.PREEMPTED,
            "1 before it in the queue gpus; the quota lacks 1 nvidia.com/gpu of a100",
        ),
        (
            Place(workload(waits(TOOK_ITS_PLACE), PREEMPTED), 0),
            Reason.PREEMPTED,
            "it is next in the queue gpus",
        ),
        (
            Place(workload(waits(TOO_MUCH)), 0),
            Reason.NO_QUOTA,
            "the queue gpus never has room for it: it asks for 3 nvidia.com/gpu, and a100 has 2 in all",
        ),
        (
            Place(workload(waits("resource nvidia.com/gpu unavailable in ClusterQueue"))),
            Reason.NO_QUOTA,
            "the queue gpus never has room for it: resource nvidia.com/gpu unavailable in ClusterQueue",
        ),
        (  # too much for one flavor, but another may do
            Place(workload(waits(f"{TOO_MUCH}, {LACK.replace('a100', 'h100')}")), 0),
            Reason.QUEUED,
            "it is next in the queue gpus; the quota lacks 1 nvidia.com/gpu of h100",
        ),
        (
            Place(workload(waits(f"{TOO_MUCH}, {LACK.replace('nvidia.com/gpu', 'cpu')}")), 0),
            Reason.NO_QUOTA,
            "the queue gpus never has room for it: it asks for 3 nvidia.com/gpu, and a100 has 2 in all",
        ),
        (
            Place(workload(said("Evicted", "True", "PodsReadyTimeout", "Exceeded the PodsReady timeout"))),
            Reason.SLOW_START,
            "it is in the queue gpus",
        ),
        (Place(workload(said("Evicted", "True", "NodeFailures"))), Reason.EVICTED, "it is in the queue gpus"),
        (
            Place(
                workload(said("QuotaReserved", "False", "Inadmissible", "LocalQueue gpus doesn't exist")), 3
            ),
            Reason.NO_QUEUE,
            "LocalQueue gpus doesn't exist",
        ),
        (
            Place(
                workload(said("QuotaReserved", "False", "Misconfigured", "ClusterQueue all doesn't exist"))
            ),
            Reason.NO_QUEUE,
            "ClusterQueue all doesn't exist",
        ),
        (
            Place(workload(said("QuotaReserved", "False", "Suspended", "ClusterQueue all is inactive"))),
            Reason.QUEUE_STOPPED,
            "ClusterQueue all is inactive",
        ),
        (
            Place(
                workload(said("Evicted", "True", "Deactivated", "The workload is deactivated"), active=False)
            ),
            Reason.QUEUE_STOPPED,
            "The workload is deactivated: kubectl patch workload job-a-2-0a1b2 --namespace training "
            """--type merge -p '{"spec":{"active":true}}'""",
        ),
        (
            Place(
                workload(said("QuotaReserved", "True"))
                | {
                    "status": {
                        "conditions": [said("QuotaReserved", "True")],
                        "admissionChecks": [
                            {"name": "nodes", "state": "Pending"},
                            {"name": "x", "state": "Ready"},
                        ],
                    }
                }
            ),
            Reason.QUEUED,
            "it has its place in the queue gpus, and waits for nodes",
        ),
        (
            Place(workload(said("QuotaReserved", "True"), said("Admitted", "True"))),
            Reason.STARTING,
            "",
        ),
    ],
)
def test_why_a_launch_waits_in_its_queue(place: Place, reason: Reason, words: str) -> None:
    assert told_of(JOB, place) == (words, reason)


def test_a_suspended_job_without_a_queue_comes_with_the_command_that_lets_it_go_on() -> None:
    words, reason = told_of({**JOB, "metadata": {**JOB["metadata"], "labels": {}}}, Place())
    assert reason is Reason.SUSPENDED
    assert words == (
        """kubectl patch job a-2 --namespace training --type merge -p '{"spec":{"suspend":false}}'"""
    )


def pod(phase: str, code: int | None = None) -> Object:
    ended = {"name": "step", "state": {"terminated": {"exitCode": code}}}
    return {
        "metadata": {"name": "a-2-x", "creationTimestamp": "2026-11-30T10:00:00Z"},
        "status": {"phase": phase, "containerStatuses": [ended] if code is not None else []},
    }


@pytest.mark.parametrize(
    ("pods", "phase", "reason"),
    [
        ([], Phase.PENDING, Reason.PREEMPTED),
        ([pod("Running")], Phase.RUNNING, Reason.PREEMPTED),
        ([pod("Pending")], Phase.PENDING, Reason.PREEMPTED),
        ([pod("Failed", 75)], Phase.PENDING, Reason.PREEMPTED),
        ([pod("Failed", 70)], Phase.RUNNING, None),  # it failed by itself, which the Job will count
    ],
)
def test_a_launch_is_preempted_from_the_moment_its_job_is_suspended(
    pods: list[Object], phase: Phase, reason: Reason | None
) -> None:
    seen = observation(JOB, pods, [], 0.0, ("1 before it", Reason.PREEMPTED))
    assert (seen.phase, seen.reason) == (phase, reason)


def test_a_job_that_ended_while_suspended_has_ended() -> None:
    done = {**JOB, "status": {"conditions": [said("Complete", "True")]}}
    assert observation(done, [], [], 0.0) == Observation(Phase.ENDED, 0)


def test_a_workload_is_its_jobs() -> None:
    assert launch_of_workload("job-triage-abcde-2-0a1b2") == "triage-abcde-2"


def test_what_is_kept_of_a_workload_tells_the_same() -> None:
    whole = workload(WAITS, PREEMPTED, podSets=[{"template": {}}], active=True)
    assert told_of(JOB, Place(kept_of_workload(whole), 1)) == told_of(JOB, Place(whole, 1))


class Cluster:
    """A cluster with Kueue, or without; it counts what it is asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers, self.asked = answers, list[str]()

    def get(self, path: str, **query: str) -> Any:
        self.asked.append(path)
        answer = self.answers.get(path, NotThere("the server could not find the requested resource"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stream(self, path: str, silence: float, **query: str) -> Iterator[bytes]:
        raise BackendAway("nobody watches here")


KUEUE, VISIBILITY = "/apis/kueue.x-k8s.io", "/apis/visibility.kueue.x-k8s.io"
WORKLOADS = f"{KUEUE}/v1beta2/namespaces/training/workloads"
PENDING = f"{VISIBILITY}/v1beta2/namespaces/training/localqueues/gpus/pendingworkloads"
SERVED = {"preferredVersion": {"version": "v1beta2"}}


def job(number: int) -> Object:
    return {**JOB, "metadata": {**JOB["metadata"], "name": f"run-{number}-2", "uid": f"u-{number}"}}


def crowd(count: int) -> dict[str, Any]:
    """A cluster on which so many wait in one queue."""
    waiting = [workload(WAITS, job=f"run-{n}-2", uid=f"u-{n}") for n in range(count)]
    positions = [
        {"metadata": {"ownerReferences": [{"uid": f"u-{n}"}]}, "positionInLocalQueue": n}
        for n in range(count)
    ]
    return {
        KUEUE: SERVED,
        VISIBILITY: SERVED,
        WORKLOADS: {"metadata": {"resourceVersion": "9"}, "items": waiting},
        PENDING: {"items": positions},
    }


def places(cluster: Cluster, count: int) -> list[Place]:
    queues = Queues(cluster, "training", lambda: 0.0, lambda _: None)  # type: ignore[arg-type]
    found = [queues.place(job(n)) for _ in range(3) for n in range(count)]
    queues.close()
    return found[-count:]


def test_a_thousand_in_a_queue_cost_as_much_as_one() -> None:
    cluster = Cluster(crowd(1000))
    found = places(cluster, 1000)
    assert [place.ahead for place in found] == list(range(1000))
    assert all(told_of(job(n), place)[1] is Reason.QUEUED for n, place in enumerate(found))
    assert len(cluster.asked) < 20


def test_without_kueue_that_is_asked_once() -> None:
    cluster = Cluster({})
    assert places(cluster, 100) == [Place(kueue=False)] * 100
    assert cluster.asked == [KUEUE]


def test_a_clock_that_is_set_back_is_no_memory() -> None:
    times, asked = iter((100.0, 50.0, 51.0)), []
    remembered = Remembered(10.0, asked.append, lambda: next(times))
    for _ in range(2):
        remembered.of("a")
    assert asked == ["a", "a"]


def test_what_may_not_be_seen_is_said_so_and_holds_nothing_up() -> None:
    forbidden = NotAllowed("the cluster does not let us ask: workloads is forbidden")
    (place,) = places(Cluster({**crowd(1), WORKLOADS: forbidden}), 1)
    words, reason = told_of(job(0), place)
    assert (reason, "workloads is forbidden" in words) == (Reason.QUEUED, True)


def test_a_queue_without_positions_is_a_queue_all_the_same() -> None:
    without = {key: value for key, value in crowd(1).items() if key != VISIBILITY}
    (place,) = places(Cluster(without), 1)
    assert (place.workload is not None, place.ahead) == (True, None)


def test_a_workload_of_an_earlier_job_of_that_name_is_not_believed() -> None:
    answers = crowd(1)
    answers[WORKLOADS]["items"] = [workload(said("Admitted", "True"), job="run-0-2", uid="u-before")]
    assert places(Cluster(answers), 1) == [Place()]
