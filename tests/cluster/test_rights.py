"""Whole lives of runs through a real service: its account uses every right that it has, and lacks none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cluster_parts import Cluster, shipped
from cluster_world import granted
from heard import Heard
from kueue_queue import queue_of_two
from quick_world import QuickWorld, own_node
from waiting import wait

from orchestrator.backends.kubernetes.tokens import AUDIENCE
from orchestrator.client import Client
from orchestrator.reasons import Reason
from orchestrator.runs import Status

pytestmark = own_node


@pytest.fixture
def world(cluster: Cluster, namespace: str, storage: Path, tmp_path: Path) -> Iterator[QuickWorld]:
    made = QuickWorld(cluster, namespace, storage, tmp_path / "home")
    yield made
    made.forget()


def test_whole_lives_use_every_right_of_the_role_and_no_other(world: QuickWorld) -> None:
    heard = Heard(world.namespace)
    assert _doctor(world)["state"] == "ok"
    with world.serving() as server, Client(server.url) as client:
        mute, far = world.submit("mute"), world.submit("far", machine="far")
        world.says_at_once(mute, "what it says instead")
        run, cancelled = world.submit("run", hold=10), world.submit("cancelled", hold=10)
        first = world.pod(run)
        wait(lambda: _report(world, server.url, run, first) == 200)
        world.cluster.evict(first, world.namespace)
        wait(lambda: world.pod(run) != first)
        client.pause(run)
        wait(lambda: world.run(run).status is Status.PAUSED, 60)
        client.resume(run)
        world.pod(cancelled)
        client.cancel(cancelled)
        wait(lambda: world.run(far).reason is Reason.UNSCHEDULABLE, 60)
        assert "selector" in world.run(far).message
        client.cancel(far)
        world.ended(mute, cancelled, far)
        assert "what it says instead" in "".join(part.text for part in client.logs(mute))
        world.pod(run)
        world.let_go(run)
        for done in world.ended(run):
            world.assert_right(done)
        client.delete_run(run)
    with world.serving():  # what is left of a deleted run goes when the service begins
        wait(lambda: not world.jobs(run), 60)
    assert heard.refused() == []
    assert heard.pairs() == granted("access", world.namespace)


@pytest.mark.usefixtures("kueue")
def test_lives_in_a_queue_use_what_its_role_adds_and_no_more(world: QuickWorld) -> None:
    heard = Heard(world.namespace)
    for thing in shipped("kueue", world.namespace):
        world.cluster.apply(thing)
    with queue_of_two(world.cluster, world.namespace), world.serving():
        before = [world.submit(name, hold=10, machine="gpu", queue="gpus") for name in ("a", "b")]
        for run in before:
            world.pod(run)
        last = world.submit("last", machine="gpu", queue="gpus")
        wait(lambda: "it is next in the queue gpus" in world.run(last).message, 60)
        for run in before:
            world.let_go(run)
        for done in world.ended(*before, last):
            world.assert_right(done)
    assert heard.refused() == []
    assert heard.pairs() - granted("access", world.namespace) == granted("kueue", world.namespace)


def _doctor(world: QuickWorld) -> dict[str, str]:
    """What the doctor finds of the cluster, where the service runs."""
    environment = {
        "AXO_HOME": str(world.home),
        "AXO_STORAGE": str(world.storage),
        "KUBECONFIG": str(world.home / "kubeconfig"),
    }
    command = [sys.executable, "-m", "orchestrator.cli", "doctor", "-o", "json"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return next(finding for finding in found if finding["about"] == "cluster")


def _report(world: QuickWorld, url: str, run: str, pod: str) -> int:
    """What the service answers a report by a pod's token, as the kubelet gives the pod one."""
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod}
    token = world.cluster.token("axo-launch", world.namespace, audiences=[AUDIENCE], boundObjectRef=bound)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.put(f"{url}/api/v1/reports/{run}/2/2", params={"offset": 0}, headers=headers).status_code
