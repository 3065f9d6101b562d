"""Launches in a queue of Kueue: the real Job controller under a stand-in that keeps Kueue's contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_parts import shipped
from cluster_world import GPU, KubernetesLab, Recording, granted, sees
from kueue_queue import queue_of_two
from kueue_stand_in import VERSION
from waiting import wait

from orchestrator.backends import LaunchRequest
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.runs import Phase, Reason


@pytest.fixture
def queues(lab: KubernetesLab, tmp_path: Path) -> Iterator[None]:
    with queue_of_two(lab.cluster, lab.namespace, tmp_path):
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
    for launch in (third, fourth):
        backend.launch(launch)
    told = "it is next in the queue gpus; the quota lacks 1 nvidia.com/gpu of axo-gpu"
    wait(lambda: backend.observe(third.name).detail == told)
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
    other = {"metadata": {"name": "other"}, "spec": {"clusterQueue": "axo-gpus", "stopPolicy": "Hold"}}
    lab.cluster.create(VERSION, "LocalQueue", other, lab.namespace)
    assert sees(backend, launch, Phase.PENDING, Reason.QUEUE_STOPPED).detail == "LocalQueue other is inactive"
    lab.cluster.change(VERSION, "LocalQueue", "other", {"spec": {"stopPolicy": "None"}}, lab.namespace)
    wait(lambda: lab.starts(launch))


@pytest.mark.usefixtures("queues", "as_the_service")
def test_looking_at_a_queue_uses_all_that_its_role_grants_and_nothing_else(lab: KubernetesLab) -> None:
    api, launch = Recording(), queued(lab, "run-a", devices=3)
    backend = KubernetesBackend(lab.settings(), api)
    backend.launch(launch)
    wait(lambda: "is forbidden" in backend.observe(launch.name).detail)  # told, and nothing is held up
    assert backend.observe(launch.name).reason is Reason.QUEUED
    for thing in shipped("kueue", lab.namespace):
        lab.cluster.apply(thing)
    wait(lambda: "it is next in the queue gpus" in backend.observe(launch.name).detail)
    wait(lambda: ("workloads", "watch") in api.asked)
    backend.close()
    assert set(api.asked) - granted("access", lab.namespace) == granted("kueue", lab.namespace)


def test_a_queue_of_a_cluster_without_kueue_is_no_queue(lab: KubernetesLab) -> None:
    backend, launch = lab.backend(), queued(lab, "run-a")
    backend.launch(launch)
    told = sees(backend, launch, Phase.PENDING, Reason.NO_QUEUE)
    assert told.detail == "the cluster has no Kueue, so it has no queue gpus either"
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)
