"""Launches in a queue of Kueue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cluster_parts import shipped
from cluster_world import GPU, KubernetesLab, Recording, granted, sees
from kueue_queue import VERSION, allow_gpus, kueue_away, queue_of_two
from waiting import wait

from orchestrator.backends import BackendAway, LaunchRequest
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.reasons import Reason
from orchestrator.runs import Phase


@pytest.fixture
def queues(kueue: None, lab: KubernetesLab) -> Iterator[None]:
    with queue_of_two(lab.cluster, lab.namespace):
        yield


def queued(lab: KubernetesLab, run: str, priority: str | None = None, devices: int = 1) -> LaunchRequest:
    return lab.request(run, replace(GPU, devices=devices), queue="gpus", priority=priority)


@pytest.mark.usefixtures("queues")
def test_a_queue_lets_launches_go_in_turn_and_says_who_is_before_them(lab: KubernetesLab) -> None:
    backend = lab.backend()
    first, second, third, fourth = (queued(lab, f"run-{name}") for name in "abcd")
    for launch in (first, second):
        backend.launch(launch)
        wait(lambda launch=launch: lab.starts(launch))
    backend.launch(third)
    told = "it is next in the queue gpus; the quota lacks 1 nvidia.com/gpu of axo-gpu"
    wait(lambda: backend.observe(third.name).detail == told)
    time.sleep(1)  # of those that were made in the same second, either may be first
    backend.launch(fourth)
    wait(lambda: backend.observe(fourth.name).detail == "1 before it in the queue gpus")
    for launch in (third, fourth):
        sees(backend, launch, Phase.PENDING, Reason.QUEUED)
    assert lab.pods(third) == lab.pods(fourth) == []
    lab.leave(first, 0)
    sees(backend, first, Phase.ENDED, None)
    wait(lambda: lab.starts(third))
    assert not lab.starts(fourth)
    backend.stop(second.name, 0.0)  # paused or cancelled: its place is free as well
    wait(lambda: lab.starts(fourth))
    sees(backend, second, Phase.MISSING, None)


@pytest.mark.usefixtures("queues")
def test_who_is_preempted_in_a_queue_stays_one_job_and_goes_on(lab: KubernetesLab) -> None:
    backend = lab.backend()
    spare, urgent = queued(lab, "spare", "axo-spare", 2), queued(lab, "urgent", "axo-urgent", 1)
    (lab.folder(spare) / "deaf").touch()  # so that it can be seen leaving
    backend.launch(spare)
    wait(lambda: lab.starts(spare))
    sees(backend, spare, Phase.RUNNING, None)
    uid = (lab.job(spare) or {})["metadata"]["uid"]
    backend.launch(urgent)
    sees(backend, spare, Phase.RUNNING, Reason.PREEMPTED)
    sees(backend, spare, Phase.PENDING, Reason.PREEMPTED)
    wait(lambda: lab.starts(urgent))
    lab.leave(urgent, 0)
    wait(lambda: len(lab.starts(spare)) == 2)
    sees(backend, spare, Phase.RUNNING, None)
    job = lab.job(spare) or {}
    assert (job["metadata"]["uid"], job["status"].get("failed", 0)) == (uid, 0)


@pytest.mark.usefixtures("queues")
def test_a_queue_that_is_stopped_or_not_there_is_told_apart(lab: KubernetesLab) -> None:
    backend, launch = lab.backend(), replace(queued(lab, "run-a"), queue="other")
    backend.launch(launch)
    assert sees(backend, launch, Phase.PENDING, Reason.NO_QUEUE).detail == "LocalQueue other doesn't exist"
    other = {"metadata": {"name": "other"}, "spec": {"clusterQueue": lab.namespace, "stopPolicy": "Hold"}}
    lab.cluster.create(VERSION, "LocalQueue", other, lab.namespace)
    assert sees(backend, launch, Phase.PENDING, Reason.QUEUE_STOPPED).detail == "LocalQueue other is inactive"
    lab.cluster.change(VERSION, "LocalQueue", "other", {"spec": {"stopPolicy": "None"}}, lab.namespace)
    wait(lambda: lab.starts(launch))


@pytest.mark.usefixtures("queues")
def test_what_a_queue_can_never_hold_says_so_and_holds_nobody_up(lab: KubernetesLab) -> None:
    backend, large, small = lab.backend(), queued(lab, "large", devices=3), queued(lab, "small")
    backend.launch(large)
    told = sees(backend, large, Phase.PENDING, Reason.NO_QUOTA)
    assert told.detail == (
        "the queue gpus never has room for it: it asks for 3 nvidia.com/gpu, and axo-gpu has 2 in all"
    )
    backend.launch(small)
    wait(lambda: lab.starts(small))
    queue = lab.cluster.get(VERSION, "ClusterQueue", lab.namespace) or {}
    allow_gpus(queue, 4)  # the operator's answer
    lab.cluster.change(VERSION, "ClusterQueue", lab.namespace, {"spec": queue["spec"]})
    sees(backend, large, Phase.PENDING, Reason.UNSCHEDULABLE)  # now it lacks a node with three


@pytest.mark.usefixtures("queues")
def test_while_kueue_is_away_nothing_begins_and_nothing_is_lost(lab: KubernetesLab) -> None:
    backend = lab.backend()
    first, second, third = (queued(lab, name, devices=2) for name in ("first", "second", "third"))
    backend.launch(first)
    wait(lambda: lab.starts(first))
    backend.launch(second)
    sees(backend, second, Phase.PENDING, Reason.QUEUED)
    with kueue_away(lab.cluster):
        with pytest.raises(BackendAway, match="failed calling webhook"):  # so it is asked again
            backend.launch(third)
        sees(backend, first, Phase.RUNNING, None)
        lab.leave(first, 0)
        wait(lambda: backend.observe(first.name).detail == "its pod has ended, and the Job is being counted")
        sees(backend, second, Phase.PENDING, Reason.QUEUED)
    sees(backend, first, Phase.ENDED, None)  # the Job controller could not touch its pod without the webhook
    wait(lambda: lab.starts(second))
    backend.launch(third)
    sees(backend, third, Phase.PENDING, Reason.QUEUED)


@pytest.mark.usefixtures("queues", "as_the_service")
def test_looking_at_a_queue_uses_all_that_its_role_grants_and_nothing_else(lab: KubernetesLab) -> None:
    api, first, launch = Recording(), queued(lab, "run-a", devices=2), queued(lab, "run-b")
    backend = KubernetesBackend(lab.settings(), api)
    backend.launch(first)
    wait(lambda: lab.starts(first))
    backend.launch(launch)
    wait(lambda: "is forbidden" in backend.observe(launch.name).detail)  # told, and nothing is held up
    assert backend.observe(launch.name).reason is Reason.QUEUED
    for thing in shipped("kueue", lab.namespace):
        lab.cluster.apply(thing)
    wait(lambda: "it is next in the queue gpus" in backend.observe(launch.name).detail)
    wait(lambda: ("workloads", "watch") in api.asked)
    backend.close()
    assert set(api.asked) - granted("access", lab.namespace) == granted("kueue", lab.namespace)
