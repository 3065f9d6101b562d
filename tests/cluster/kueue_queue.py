"""The queue that ships, for two GPUs, with Kueue or what stands for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_parts import Cluster, Object, shipped
from kueue_stand_in import kueue
from kueue_visibility import visibility


@contextmanager
def queue_of_two(cluster: Cluster, namespace: str, folder: Path) -> Iterator[None]:
    """The LocalQueue `gpus` of a namespace; `folder` holds the stand-in's keys, where one is needed."""
    with kueue(cluster, namespace) as stand_in:
        for thing in shipped("admin/queues", namespace):
            cluster.apply(_for_two(thing))
        if stand_in is None:
            yield
            return
        with visibility(cluster, namespace, stand_in, folder):
            yield


def _for_two(thing: Object) -> Object:
    """The manifest of a queue with two GPUs in the place of what it says."""
    if thing["kind"] == "ClusterQueue":
        (flavor,) = thing["spec"]["resourceGroups"][0]["flavors"]
        flavor["resources"][0]["nominalQuota"] = 2
    return thing
