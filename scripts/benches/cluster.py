"""Launches on a real Kubernetes: how soon they are made and seen, and what a thousand ask of the API server.

The cluster is that of `scripts/cluster`, started for the bench where it does not run. Each figure stands with
its floor, taken in the same run by plain calls and a plain watch. Times of the clock need a quiet machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches._load import percentile
from benches._measure import ROOT, machine

sys.path += [str(ROOT / "tests"), str(ROOT / "tests/cluster")]
HANDS = 4  # as many launches are begun side by side as the controller begins
AT_REST_SECONDS = 10


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench cluster", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="Runs from submission to their end.")
    parser.add_argument("--jobs", type=int, default=1000, help="Suspended Jobs that are made at a rate.")
    parser.add_argument("--rate", type=float, default=50, help="Requests a second that the settings allow.")
    options = parser.parse_args(arguments)
    print(f"machine: {machine()}")
    with _cluster() as cluster:
        _runs(cluster, options.runs)
        _many(cluster, options.jobs, options.rate)


@contextmanager
def _cluster() -> Iterator[Any]:
    from cluster_parts import Cluster
    from node.places import KUBECONFIG

    script = ROOT / "scripts/cluster"
    somebodys = KUBECONFIG.exists()
    kubeconfig = subprocess.run([script, "up"], check=True, capture_output=True, text=True).stdout.strip()
    os.environ["KUBECONFIG"] = kubeconfig
    image = subprocess.run([script, "image"], check=True, capture_output=True, text=True).stdout.strip()
    yield Cluster(Path(kubeconfig), image)
    if not somebodys:
        subprocess.run([script, "down"], check=True, capture_output=True)


@contextmanager
def _namespace(cluster: Any) -> Iterator[tuple[str, Path]]:
    """A training namespace, and the folder behind its storage."""
    from cluster_parts import make_namespace, volume, volume_name

    name = f"axo-bench-{uuid.uuid4().hex[:8]}"
    os.umask(0)  # in production the service runs as the same user as its launches
    with TemporaryDirectory(prefix="axo-bench-cluster-") as top:
        Path(top).chmod(0o755)
        folder = Path(top) / name
        folder.mkdir()
        make_namespace(cluster, name)
        for thing in volume(name, "axo-storage", folder):
            cluster.apply(thing)
        try:
            yield name, folder
        finally:
            cluster.delete("v1", "Namespace", name)
            cluster.delete("v1", "PersistentVolume", volume_name(name, "axo-storage"))


def _runs(cluster: Any, count: int) -> None:
    """Submitted one after another to a real service, with a trainer that takes two seconds."""
    from quick_world import QuickWorld

    from benches._sighted import PlainWatch
    from orchestrator.db import opened
    from orchestrator.runs import Status

    made, running, ended, spans = [], [], [], []
    with _namespace(cluster) as (namespace, folder):
        world = QuickWorld(cluster, namespace, folder, folder.parent / "home")
        watch = PlainWatch(cluster.api, namespace)
        with world.serving(), opened(f"sqlite:///{world.home / 'axo.db'}") as database:
            for number in range(count):
                before = time.time()
                run = world.submit(f"run-{number}")
                made.append(watch.wait(watch.made, f"{run}-1") - before)
                world.ended(run)
                train = f"{run}-2"
                times = {event.status: event.time for event in reversed(database.events(run))}
                (attempt,) = (each for each in database.attempts(run) if each.launch == 2)
                assert attempt.started is not None
                running.append(times[Status.TRAINING] - watch.running[train])
                ended.append(times[Status.SUCCEEDED] - watch.ended[train])
                spans.append(
                    (attempt.started - watch.running[train], watch.complete[train] - watch.ended[train])
                )
        world.forget()
        floor = _plain_posts(cluster, namespace, folder, count, watch)
    print(f"{count} runs through a service, seconds of wall time")
    _show("submit -> Job made", made, "a plain POST -> seen by a plain watch", floor)
    _show("pod running -> run training", running, "its program's first line", [first for first, _ in spans])
    _show("pod ended -> run succeeded", ended, "Job complete, by a plain watch", [last for _, last in spans])


def _plain_posts(cluster: Any, namespace: str, folder: Path, count: int, watch: Any) -> list[float]:
    """From a POST of a Job to its being seen, with nothing of ours in between."""
    from kubernetes import client

    took, (backend, request) = [], _lab(cluster, namespace, folder)
    api = client.BatchV1Api(cluster.api)
    for number in range(count):
        job = backend.request(replace(request, run=f"plain-{number}"))
        before = time.time()
        api.create_namespaced_job(namespace, job)
        took.append(watch.wait(watch.made, job["metadata"]["name"]) - before)
    return took


def _many(cluster: Any, count: int, rate: float) -> None:
    """Suspended Jobs made as the controller makes launches, then looked at as often as it looks at runs."""
    from kubernetes import client

    from orchestrator.backends.kubernetes.pace import REQUESTS

    def asked() -> float:
        return sum(
            one.value for each in REQUESTS.collect() for one in each.samples if one.name.endswith("_total")
        )

    with _namespace(cluster) as (namespace, folder):
        backend, request = _lab(cluster, namespace, folder, rate)
        launches = [replace(request, run=f"many-{number}") for number in range(count)]
        plain = [backend.request(replace(request, run=f"plain-{n}")) for n in range(max(count // 10, 20))]
        api = client.BatchV1Api(cluster.api)
        bare, bare_seconds = _side_by_side(lambda job: api.create_namespaced_job(namespace, job), plain)
        took, seconds = _side_by_side(backend.launch, launches)
        print(f"{count} suspended Jobs, {HANDS} at a time, {rate:g} requests a second allowed")
        print(
            f"  made: {count / seconds:.0f}/s (goal {rate:g}); plain POSTs: {len(plain) / bare_seconds:.0f}/s"
        )
        _show("one launch, its wait for its turn in it", took, "a plain POST", bare)
        for launch in launches:
            backend.observe(launch.name)
        before, until, looks = asked(), time.monotonic() + AT_REST_SECONDS, 0
        while time.monotonic() < until:
            for launch in launches:
                backend.observe(launch.name)
            looks += len(launches)
            time.sleep(0.5)
        per_second = (asked() - before) / AT_REST_SECONDS
        print(f"  at rest: {per_second:.2f} requests a second for {looks} looks (goal at most 1)")
        backend.close()


def _lab(cluster: Any, namespace: str, folder: Path, rate: float = 20.0) -> tuple[Any, Any]:
    """A backend of the namespace whose Jobs stay suspended, and a launch."""
    from cluster_world import SMALL, KubernetesLab

    lab = KubernetesLab(cluster, namespace, folder / uuid.uuid4().hex)
    backend = lab.backend(lambda job: job["spec"].update(suspend=True), requests_per_second=rate)
    return backend, lab.request(machine=SMALL)


def _side_by_side(work: Callable[[Any], object], items: Sequence[Any]) -> tuple[list[float], float]:
    """How long each took, and all of them."""

    def timed(item: Any) -> float:
        began = time.perf_counter()
        work(item)
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(HANDS) as hands:
        took = list(hands.map(timed, items))
    return took, time.perf_counter() - began


def _show(name: str, took: list[float], floor_name: str, floor: list[float]) -> None:
    for what, seconds in ((name, took), (f"  floor: {floor_name}", floor)):
        print(f"  {what:<50} p50 {percentile(seconds, 50):7.0f} ms  p99 {percentile(seconds, 99):7.0f} ms")
