"""The queue that ships, for the two GPUs of a node, in a real Kueue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster_parts import Cluster, Object, shipped
from waiting import wait

from orchestrator.backends.kubernetes.queues import GROUP

VERSION = f"{GROUP}/v1beta2"
_CONTROLLER, _PLACE = ("apps/v1", "Deployment", "kueue-controller-manager"), "kueue-system"
_DEFINITIONS = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def has_kueue(cluster: Cluster) -> bool:
    return cluster.get(*_DEFINITIONS, f"workloads.{GROUP}") is not None


@contextmanager
def queue_of_two(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The LocalQueue `gpus` of a namespace, whose quota no other test's launches take."""
    things = [_for_two(thing, namespace) for thing in shipped("admin/queues", namespace)]
    for thing in things:
        cluster.apply(thing)
    wait(lambda: _is_open(cluster, namespace))
    yield
    for thing in things:
        if thing["kind"] == "ClusterQueue":  # it goes once nothing stands in it any more
            cluster.delete(VERSION, "ClusterQueue", thing["metadata"]["name"])


def allow_gpus(queue: Object, count: int) -> None:
    """Write into a ClusterQueue of one flavor how many GPUs may be in use at once."""
    (flavor,) = queue["spec"]["resourceGroups"][0]["flavors"]
    (gpus,) = (each for each in flavor["resources"] if each["name"] == "nvidia.com/gpu")
    gpus["nominalQuota"] = count


@contextmanager
def kueue_away(cluster: Cluster) -> Iterator[None]:
    """Its controller is gone for the length of a `with` block, its webhooks still in force."""
    _let_run(cluster, 0)
    try:
        yield
    finally:
        _let_run(cluster, 1)


def _let_run(cluster: Cluster, count: int) -> None:
    cluster.change(*_CONTROLLER, {"spec": {"replicas": count}}, _PLACE)
    wait(lambda: (cluster.get(*_CONTROLLER, _PLACE) or {})["status"].get("readyReplicas", 0) == count, 120)
    wait(lambda: len(cluster.list("v1", "Pod", _PLACE)) == count)


def _for_two(thing: Object, namespace: str) -> Object:
    """The manifest of a queue with two GPUs in the place of what it says, and a name of its own."""
    match thing["kind"]:
        case "ClusterQueue":
            allow_gpus(thing, 2)
            thing["metadata"]["name"] = namespace
        case "LocalQueue":
            thing["spec"]["clusterQueue"] = namespace
        case "ResourceFlavor":
            thing["spec"] = {"nodeLabels": {"kubernetes.io/os": "linux"}}  # such as {gpu: a100} elsewhere
    return thing


def _is_open(cluster: Cluster, namespace: str) -> bool:
    found = cluster.get(VERSION, "LocalQueue", "gpus", namespace) or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Active", "True") for each in conditions)
