"""Somebody who asks a service all along, as through a Service: each request goes to a pod that is ready."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from cluster_parts import Cluster, Object
from waiting import wait

_PROGRAMMED_SECONDS = 0.5  # how late a node's proxy may hear of who is ready
_THREADS = 4


@dataclass
class Asked:
    """What came of the requests, each made once."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def ask(self, client: httpx.Client, pod: str, host: str) -> None:
        began = time.monotonic()
        try:
            answer = client.get(f"http://{pod}:8520/api/v1/runs", headers={"Host": host})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self.failed.append(f"{pod}: {error!r}")
        self.seconds.append(time.monotonic() - began)


@contextmanager
def asking(cluster: Cluster, namespace: str, key: str, per_second: float) -> Iterator[Asked]:
    """So many requests in a second for the length of a `with` block, each by a connection of its own."""
    asked, stop, ready = Asked(), threading.Event(), list[str]()

    def hear() -> None:
        while True:
            ready[:] = _ready(cluster, namespace)
            if stop.wait(_PROGRAMMED_SECONDS):
                return

    def ask(turns: Iterator[int]) -> None:
        while not stop.wait(_THREADS / per_second):
            pods = list(ready)
            with httpx.Client(timeout=30, trust_env=False) as client:
                client.headers["Authorization"] = f"Bearer {key}"
                asked.ask(client, pods[next(turns) % len(pods)], f"axo.{namespace}.svc")

    threads = [threading.Thread(target=hear)]
    threads[0].start()
    wait(lambda: ready)
    turns = itertools.count()
    threads += [threading.Thread(target=ask, args=(turns,)) for _ in range(_THREADS)]
    for thread in threads[1:]:
        thread.start()
    try:
        yield asked
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _ready(cluster: Cluster, namespace: str) -> list[str]:
    """The addresses of the pods behind the Service that are ready."""
    label = "kubernetes.io/service-name=axo"
    slices: list[Object] = cluster.list("discovery.k8s.io/v1", "EndpointSlice", namespace, label)
    ends = [end for each in slices for end in each.get("endpoints") or ()]
    return sorted(end["addresses"][0] for end in ends if end["conditions"]["ready"])
