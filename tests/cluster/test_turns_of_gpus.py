"""Two GPUs and more runs than that, through a real service: the same in a queue of Kueue and without one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from cluster_parts import Cluster, shipped
from kueue_queue import queue_of_two
from quick_world import QuickWorld
from waiting import wait

from orchestrator import contract
from orchestrator.client import Client
from orchestrator.db import Run
from orchestrator.reasons import Reason
from orchestrator.runs import Status

WAITS = {
    None: (Reason.UNSCHEDULABLE, "none of 1 nodes has room: too little free nvidia.com/gpu on 1"),
    "gpus": (Reason.QUEUED, "it is next in the queue gpus; the quota lacks 1 nvidia.com/gpu of axo-gpu"),
}
HOUR = 3600


@pytest.fixture(params=WAITS, ids=["without a queue", "in a queue"])
def queue(request: pytest.FixtureRequest) -> str | None:
    named: str | None = request.param
    if named:
        request.getfixturevalue("kueue")
    return named


@pytest.fixture
def world(
    cluster: Cluster, namespace: str, storage: Path, tmp_path: Path, queue: str | None
) -> Iterator[QuickWorld]:
    for file in ("admin/priorities", "kueue"):
        for thing in shipped(file, namespace):
            cluster.apply(thing)
    made = QuickWorld(cluster, namespace, storage, tmp_path / "home")
    with queue_of_two(cluster, namespace) if queue else nullcontext(), made.serving():
        yield made
    made.forget()


def submit(world: QuickWorld, name: str, queue: str | None, **more: Any) -> str:
    """A run that wants a GPU, and trains up to step 10 until it is let go."""
    return world.submit(name, hold=10, machine="gpu", **more, **({"queue": queue} if queue else {}))


def becomes(world: QuickWorld, run: str, status: Status, reason: Reason | None) -> Run:
    def so() -> Run | None:
        found = world.run(run)
        return found if (found.status, found.reason) == (status, reason) else None

    try:
        now: Run = wait(so, 120)
    except AssertionError:
        found = world.run(run)
        pytest.fail(f"{run} is {found.status} ({found.reason}: {found.message})")
    return now


def says(world: QuickWorld, run: str, words: str) -> None:
    """Its place in a queue is asked for each few seconds."""
    try:
        wait(lambda: words in world.run(run).message, 60)
    except AssertionError:
        pytest.fail(f"{run} says {world.run(run).message!r}")


def train_jobs(world: QuickWorld, run: str) -> list[str]:
    return [
        job["metadata"]["name"] for job in world.jobs(run) if job["metadata"]["labels"]["axo/step"] == "train"
    ]


def test_of_three_runs_for_two_gpus_one_waits_and_says_why(world: QuickWorld, queue: str | None) -> None:
    first, second = submit(world, "first", queue), submit(world, "second", queue)
    for run in (first, second):
        becomes(world, run, Status.TRAINING, None)
    third = submit(world, "third", queue, max_hours=1.2 / HOUR)
    reason, words = WAITS[queue]
    becomes(world, third, Status.WAITING, reason)
    says(world, third, words)
    assert world.server is not None
    with Client(world.server.url) as client:
        client.pause(third)  # what waits can be paused, and waits again when it is resumed
        becomes(world, third, Status.PAUSED, Reason.BY_USER)
        assert train_jobs(world, third) == []
        client.resume(third)
    becomes(world, third, Status.WAITING, reason)
    says(world, third, words)
    world.hold(third, 32)  # by then it has trained for longer than it may; waiting does not count
    world.let_go(first)
    for run in world.ended(first):
        world.assert_right(run)
    world.let_go(second)
    ended = becomes(world, third, Status.FAILED, Reason.TIME_LIMIT)
    assert ended.ended is not None
    (done,) = world.ended(second)
    world.assert_right(done)
    store = contract.FileStore(world.folder(first))
    said = contract.read_outcome(store, contract.owner(store))
    began = contract.attempts(contract.FileStore(world.folder(third)))[-1].time
    assert said is not None
    assert began >= said.ended  # its turn came when another had ended


def test_more_urgent_runs_come_first_and_the_others_go_on(world: QuickWorld, queue: str | None) -> None:
    spare = [submit(world, name, queue, priority="axo-spare") for name in ("a", "b")]
    for run in spare:
        becomes(world, run, Status.TRAINING, None)
        wait(lambda run=run: any(record.step == 10 for record in world.records(run)))
    urgent = submit(world, "urgent", queue, priority="axo-urgent")
    becomes(world, urgent, Status.TRAINING, None)
    (victim,) = [run for run in spare if world.run(run).status is not Status.TRAINING]
    seen = becomes(world, victim, Status.WAITING, Reason.PREEMPTED if queue else Reason.UNSCHEDULABLE)
    assert seen.message
    world.let_go(urgent)
    world.ended(urgent)
    becomes(world, victim, Status.TRAINING, None)
    world.pod(victim)
    (start,) = wait(lambda: [record for record in world.records(victim) if record.kind == "start"])
    assert start.values["resumed_from"] == 10  # the newest checkpoint: made as it was told to leave
    for run in spare:
        world.let_go(run)
    for done in world.ended(*spare, urgent):
        world.assert_right(done)
    assert [len(train_jobs(world, run)) for run in spare] == [1, 1]  # no failure, so no further launch
