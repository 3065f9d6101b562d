"""What takes pods, Jobs, parts of the cluster and the service away: runs end right, and nothing is a failure.

A real service and real pods; training is a chain of hashes, so lost or doubled steps show in the weights.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_parts import Cluster, Object, script
from quick_world import QuickWorld, own_node, without
from waiting import wait

from orchestrator import contract
from orchestrator.contract import Cause
from orchestrator.reasons import Reason

PROVE = bool(os.environ.get("AXO_PROVE"))
AWAY_SECONDS = 60 if PROVE else 4
FEW_OR_MANY = 50 if PROVE else 6
TOLD_OF = {"kube-apiserver": Reason.UNKNOWN, **({"kubelet": Reason.NODE_LOST} if PROVE else {})}  # after 50 s


@pytest.fixture
def world(cluster: Cluster, namespace: str, storage: Path, tmp_path: Path) -> Iterator[QuickWorld]:
    made = QuickWorld(cluster, namespace, storage, tmp_path / "home")
    yield made
    made.forget()


def test_whatever_ends_a_pod_or_a_job_the_run_goes_on(world: QuickWorld) -> None:
    """Side by side, each run is disturbed once, held at a step between two checkpoints."""
    with world.serving():
        runs = {how: world.submit(how.replace("_", "-"), hold=10) for how in DISTURBANCES}
        before = {how: world.pod(run) for how, run in runs.items()}
        for how, disturb in DISTURBANCES.items():
            _trained(world, runs[how], 10)
            disturb(world, runs[how], before[how])
        for how, run in runs.items():
            assert world.pod(run) != before[how]
            world.let_go(run)
        for run in world.ended(*runs.values()):
            world.assert_right(run)
    followed = {how: len(_training(world, run)) - 1 for how, run in runs.items()}
    assert followed == {"evicted": 0, "deleted": 0, "deleted_by_force": 0, "killed": 1, "job_deleted": 0}
    newest = {
        world.jobs(runs[how])[-1]["metadata"]["name"][-1]
        for how in ("evicted", "deleted", "deleted_by_force")
    }
    assert newest == {"2"}


def evicted(world: QuickWorld, run: str, pod: str) -> None:
    world.cluster.evict(pod, world.namespace)


def deleted(world: QuickWorld, run: str, pod: str) -> None:
    world.cluster.delete("v1", "Pod", pod, world.namespace)


def deleted_by_force(world: QuickWorld, run: str, pod: str) -> None:
    world.cluster.delete("v1", "Pod", pod, world.namespace, body={"gracePeriodSeconds": 0})


def killed(world: QuickWorld, run: str, pod: str) -> None:
    world.kill_process(run)


def job_deleted(world: QuickWorld, run: str, pod: str) -> None:
    (train,) = (job for job in world.jobs(run) if job["metadata"]["labels"]["axo/step"] == "train")
    name = train["metadata"]["name"]
    world.cluster.delete("batch/v1", "Job", name, world.namespace, body={"propagationPolicy": "Background"})


DISTURBANCES: dict[str, Callable[[QuickWorld, str, str], None]] = {
    each.__name__: each for each in (evicted, deleted, deleted_by_force, killed, job_deleted)
}


def _trained(world: QuickWorld, run: str, step: int) -> None:
    """Wait until a run has trained so many steps."""
    wait(lambda: any(r.kind == "metrics" and r.step >= step for r in world.records(run)), 120)


def test_a_run_that_is_interrupted_often_gets_a_new_job(world: QuickWorld) -> None:
    """The next pod of a Job comes after 10, 20, 40, at last 600 seconds, however long the last one ran."""
    with world.serving():
        run = world.submit("often", hold=10)
        _trained(world, run, 10)
        for _ in range(3):
            pod = world.pod(run)
            world.cluster.evict(pod, world.namespace)
            wait(lambda pod=pod: world.pod(run) != pod, 60)
        (train,) = _training(world, run)
        assert train["metadata"]["name"] == f"{run}-3"
        world.let_go(run)
        (done,) = world.ended(run)
        world.assert_right(done)


@own_node
def test_a_run_waits_while_its_node_is_drained(world: QuickWorld) -> None:
    """As `kubectl drain` does it: nothing new comes to the node, and what is there is evicted."""
    (node,) = world.cluster.list("v1", "Node")
    with world.serving():
        run = world.submit("drained", hold=10)
        before = world.pod(run)
        _trained(world, run, 10)
        try:
            world.cluster.change("v1", "Node", node["metadata"]["name"], {"spec": {"unschedulable": True}})
            world.cluster.evict(before, world.namespace)
            wait(lambda: world.run(run).reason is Reason.UNSCHEDULABLE, 60)
            assert "unschedulable" in world.run(run).message
        finally:
            world.cluster.change("v1", "Node", node["metadata"]["name"], {"spec": {"unschedulable": None}})
        world.let_go(run)
        (done,) = world.ended(run)
        world.assert_right(done)
        assert len(_training(world, run)) == 1


def test_of_two_trainers_on_one_run_the_older_cannot_commit(world: QuickWorld) -> None:
    """A second pod of the same launch, as after a pod was released that still runs somewhere."""
    with world.serving():
        run = world.submit("two", hold=10)
        first = world.pod(run)
        _trained(world, run, 10)
        world.cluster.create("v1", "Pod", _copy(world, first), world.namespace)
        store = contract.FileStore(world.folder(run))
        wait(lambda: contract.attempts(store)[-1].host == "copy")
        fenced, copied = contract.attempts(store)[-2:]
        wait(lambda: contract.read_outcome(store, fenced.attempt))
        said = contract.read_outcome(store, fenced.attempt)
        assert said is not None
        assert (said.cause, fenced.host) == (Cause.FENCED, first)
        wait(lambda: contract.owner(store) > copied.attempt, 60)  # its Job has put another in its place
        world.let_go(run)
        (done,) = world.ended(run)
        world.assert_right(done)


def _copy(world: QuickWorld, pod: str) -> Object:
    found = world.cluster.get("v1", "Pod", pod, world.namespace)
    assert found is not None
    return {"metadata": {"name": "copy"}, "spec": {**found["spec"], "nodeName": None}}


@own_node
def test_the_clusters_parts_and_the_service_may_die(world: QuickWorld) -> None:
    """One run held while each is killed in turn, and one more whose pod ends meanwhile."""
    held: list[str] = []
    for part in ("kubelet", "kube-apiserver", "kube-controller-manager"):
        with world.serving():
            held.append(world.submit(f"held-{part}", hold=10))
            ending = world.submit(f"ends-{part}", hold=20)
            pods = {run: world.pod(run) for run in (held[-1], ending)}
            with without(part, lambda: script("up")):
                world.let_go(ending)
                time.sleep(AWAY_SECONDS)
                if part in TOLD_OF:
                    wait(lambda part=part: world.run(held[-1]).reason is TOLD_OF[part])
            (done,) = world.ended(ending)
            world.assert_right(done)
            assert world.pod(held[-1]) == pods[held[-1]]
            world.kill_service()
    with world.serving():
        for run in held:
            world.let_go(run)
        for done in world.ended(*held):
            world.assert_right(done)
            assert [job["metadata"]["name"] for job in world.jobs(done.id)] == [
                f"{done.id}-1",
                f"{done.id}-2",
            ]


def test_jobs_that_end_and_vanish_while_the_service_is_away_end_right(world: QuickWorld) -> None:
    """Half are removed by their time to live, half by hand, some before they ended."""
    with world.serving():
        runs = [world.submit(f"away-{number}", hold=36) for number in range(FEW_OR_MANY)]
        for run in runs:
            world.pod(run)
        world.kill_service()
    cut_off = runs[0]
    for run in runs[1:]:
        world.let_go(run)
    for number, run in enumerate(runs[1:]):
        wait(lambda run=run: _has_ended(world, run), 240)
        _vanish(world, run, by_hand=number % 2 == 0)
    job_deleted(world, cut_off, "")
    wait(lambda: not [job for run in runs for job in _training(world, run)], 120)
    world.let_go(cut_off)
    with world.serving():
        for done in world.ended(*runs):
            world.assert_right(done)
            assert len(_training(world, done.id)) == (1 if done.id == cut_off else 0)


def test_a_namespace_that_vanishes_with_its_jobs_is_waited_for(world: QuickWorld) -> None:
    """One run ends by its storage's word; the other goes on once the namespace and its rights are back."""
    with world.serving():
        done, cut_off = world.submit("done", hold=36), world.submit("cut-off", hold=10)
        for run in (done, cut_off):
            world.pod(run)
        world.kill_service()
    world.let_go(done)
    wait(lambda: _has_ended(world, done), 120)
    world.remove_namespace()
    with world.serving():
        world.assert_right(*world.ended(done))
        wait(lambda: "make the namespace and its rights from" in world.run(cut_off).message)
        assert world.run(cut_off).reason is Reason.UNKNOWN
        world.let_go(cut_off)
        world.make_namespace()
        world.assert_right(*world.ended(cut_off))
        assert world.records(cut_off)[0].values["resumed_from"] >= 8


def _training(world: QuickWorld, run: str) -> list[Object]:
    return [job for job in world.jobs(run) if job["metadata"]["labels"]["axo/step"] == "train"]


def _has_ended(world: QuickWorld, run: str) -> bool:
    return all(job["status"].get("completionTime") for job in _training(world, run))


def _vanish(world: QuickWorld, run: str, *, by_hand: bool) -> None:
    (job,) = _training(world, run)
    name = job["metadata"]["name"]
    if by_hand:
        how: Any = {"propagationPolicy": "Background"}
        world.cluster.delete("batch/v1", "Job", name, world.namespace, body=how)
    else:
        world.cluster.change(
            "batch/v1", "Job", name, {"spec": {"ttlSecondsAfterFinished": 0}}, world.namespace
        )
