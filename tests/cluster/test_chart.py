"""The life of the chart's release in a real cluster: nothing that an operator does to it loses a run."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from asking import asking
from chart_release import Release, releasing
from cluster_parts import Cluster
from entered import KUBECTL, first_key, forwarded, in_its_pod
from helm import VALUES, Helm
from postgres_server import postgres_server
from quick_world import QuickWorld, own_node
from road import host_of_pods, road

from orchestrator.db import connected
from orchestrator.db.migrate import HEAD, VERSIONS, upgrade, version

pytestmark = own_node

PER_SECOND = 50 if os.environ.get("AXO_PROVE") else 10
FOREIGN = ("gateway.networking.k8s.io", "monitoring.coreos.com", "kueue.x-k8s.io")


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that every node has, in which everybody may write."""
    before = os.umask(0)
    yield Path(os.environ.get("AXO_CLUSTER_STORAGE") or "/tmp/axo-cluster-storage")
    os.umask(before)


def test_a_release_over_a_file_loses_no_run_and_leaves_what_it_kept(
    cluster: Cluster, helm: Helm, top: Path, tmp_path: Path
) -> None:
    with releasing(cluster, helm, top) as release:
        assert "axo admin keys create ops" in release.install()
        with entered(release, tmp_path, f"sqlite:///{release.home / 'axo.db'}") as world:
            held = upgraded_while_one_trains(release, world)
            release.rollback()
            assert "launches_per_second" not in settings(release)
            trains(release, world, "after")
            release.uninstall()
            assert not release.has("apps/v1", "Deployment", "axo", release.namespace)
            assert not release.has("rbac.authorization.k8s.io/v1", "Role", "axo", release.training)
            for namespace in (release.namespace, release.training):
                assert release.has("v1", "PersistentVolumeClaim", "axo-storage", namespace)
            assert release.has("v1", "PersistentVolumeClaim", "axo-home", release.namespace)
            release.install()  # it goes on with what was left
            trains(release, world, "again")
            world.assert_right(world.run(held))


def test_a_release_over_a_postgresql_brings_it_up_to_date_and_is_never_away(
    cluster: Cluster, helm: Helm, top: Path, tmp_path: Path
) -> None:
    with postgres(cluster) as (here, there):
        with connected(here, 1) as database:
            upgrade(database, VERSIONS[-2])  # as the release before has left it
        with releasing(cluster, helm, top, replicas=2, database={"secret": "axo-database"}) as release:
            secret = {"metadata": {"name": "axo-database"}, "stringData": {"url": there}}
            cluster.create("v1", "Secret", secret, release.namespace)
            release.install()
            with connected(here, 1) as database, database.reading() as connection:
                assert version(connection) == HEAD
            with entered(release, tmp_path, here) as world:
                with asking(cluster, release.namespace, world.key, PER_SECOND) as asked:
                    upgraded_while_one_trains(release, world)
                    release.rollback()
                print(
                    f"{len(asked.seconds)} requests, {len(asked.failed)} failed, {max(asked.seconds):.2f} s"
                )
                assert asked.failed == []
                assert len(asked.seconds) > 100


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_api_server_knows_every_field_and_lets_its_pods_in(
    helm: Helm, namespace: str, values: Path
) -> None:
    """Here, into a namespace of restricted pods alone."""
    made = [thing for thing in helm.objects(values) if thing["apiVersion"].partition("/")[0] not in FOREIGN]
    (pod,) = (thing["spec"]["template"]["spec"] for thing in made if thing["kind"] == "Deployment")
    pod = {**pod, "serviceAccountName": "default", "priorityClassName": ""}  # its own are not there yet
    made.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "axo"}, "spec": pod})
    for thing in made:
        if "namespace" in thing["metadata"] or thing["kind"] == "Pod":
            thing["metadata"]["namespace"] = namespace
    asked = (
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    )
    done = subprocess.run([*KUBECTL, *asked], input=yaml.safe_dump_all(made), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(made)


@contextmanager
def entered(release: Release, folder: Path, database: str) -> Iterator[QuickWorld]:
    """What tests do to the runs of the release, by its first key."""
    account = ("axo", release.namespace)
    world = QuickWorld(release.cluster, release.training, release.storage, folder / "desk", account, database)
    try:
        world.key = first_key(release.namespace)
        yield world
    finally:
        world.forget()


def upgraded_while_one_trains(release: Release, world: QuickWorld) -> str:
    """A run whose pod trained on while the settings were changed; it ended as if nobody had."""
    with forwarded(release.namespace) as world.url:
        run = world.submit("held", hold=10)
        pod = world.pod(run)
    said = release.upgrade(launches_per_second=3)
    assert "its runs go on" in said
    assert "keys create" not in said
    assert settings(release)["launches_per_second"] == 3
    assert world.pod(run) == pod
    world.let_go(run)
    for done in world.ended(run):
        world.assert_right(done)
    assert [each["metadata"]["name"] for each in world.pods(run, alive=False)] == [pod]
    return run


def trains(release: Release, world: QuickWorld, name: str) -> None:
    with forwarded(release.namespace) as world.url:
        run = world.submit(name)
    for done in world.ended(run):
        world.assert_right(done)


def settings(release: Release) -> dict[str, object]:
    """What the service has read."""
    read: dict[str, object] = yaml.safe_load(
        in_its_pod(release.namespace, "python", "-c", "print(open('/etc/axo/settings.yaml').read())")
    )
    return read


@contextmanager
def postgres(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """A database's URL for this machine, and the one for pods."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        postgres_server(durable=False, listen_addresses="'127.0.0.1'", port=str(port)),
        road(host_of_pods(cluster.kubeconfig), port) as way,
    ):
        pods = way.url.removeprefix("http://")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres", f"postgresql://postgres@{pods}/postgres"
