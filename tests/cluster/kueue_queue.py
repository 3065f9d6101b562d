"""The queue that ships, for the two GPUs of a node, in a real Kueue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cluster_parts import Cluster, Object, shipped
from waiting import wait

from orchestrator.backends.kubernetes.queues import GROUP

VERSION = f"{GROUP}/v1beta2"
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


def _for_two(thing: Object, namespace: str) -> Object:
    """The manifest of a queue with two GPUs in the place of what it says, and a name of its own."""
    match thing["kind"]:
        case "ClusterQueue":
            (flavor,) = thing["spec"]["resourceGroups"][0]["flavors"]
            flavor["resources"][0]["nominalQuota"] = 2
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
