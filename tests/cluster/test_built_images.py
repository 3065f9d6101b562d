"""The images that ship, in a real cluster: the service in a pod of its own, launches in the trainer's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import docker
import pytest
import yaml
from cluster_parts import Cluster, Object, shipped, volume
from desks import axo, ended, make_desk, run_here
from entered import first_key, forwarded
from node import images
from road import host_of_pods, road
from waiting import wait

from orchestrator import __version__

ROOT = Path(__file__).parents[2]
PROVE = bool(os.environ.get("AXO_PROVE"))
STEPS = 12
NAMES = ("axo-service", "axo-trainer")
DESCRIBE = ("git", "describe", "--always", "--dirty", "--abbrev=40")

pytestmark = pytest.mark.skipif(
    "KUBECONFIG" in os.environ, reason="images go to the node of this machine alone"
)


@pytest.fixture(scope="module")
def built(kubeconfig: Path, engine: str) -> tuple[str, ...]:
    """The names by which the node knows the images of this very commit; the full proof builds them first."""
    if PROVE:
        subprocess.run([ROOT / "scripts/images"], env={**os.environ, "DOCKER_HOST": engine}, check=True)
    return tuple(_on_the_node(engine, f"{name}:{__version__}") for name in NAMES)


def test_the_service_in_a_pod_trains_and_publishes_with_the_images_that_ship(
    cluster: Cluster,
    namespace: str,
    storage: Path,
    built: tuple[str, ...],
    tiny_model: Path,
    mlflow_url: str,
    trainer_python: str,
    tmp_path: Path,
) -> None:
    """Its adapter is that of a local run with as many threads, to the last byte."""
    desk = make_desk(tmp_path / "desk", tiny_model, STEPS)
    with (
        road(host_of_pods(cluster.kubeconfig), int(mlflow_url.rpartition(":")[2])) as way,
        service_in_a_pod(cluster, namespace, storage, built, way.url) as (url, key),
    ):
        run = axo(desk, "submit", "spec.yaml", AXO_URL=url, AXO_KEY=key)["id"]
        told = ended(desk, run, url, key)
        assert told["status"] == "succeeded", told
        proof = axo(desk, "verify", run, AXO_URL=url, AXO_KEY=key)
        assert proof["adapter in storage"]["as_published"]
    here = run_here(desk, tmp_path / "here", mlflow_url, trainer_python)
    assert told["published"][0]["digest"] == here["published"][0]["digest"]


@contextmanager
def service_in_a_pod(
    cluster: Cluster, namespace: str, storage: Path, built: tuple[str, ...], mlflow: str
) -> Iterator[tuple[str, str]]:
    """The service as `k8s/service.yaml` has it; its address on this machine, and the first key."""
    home = storage.with_name(f"{storage.name}-home")
    home.mkdir()
    made = [*volume("axo", "axo-home", home), *volume("axo", "axo-storage", storage)]
    shipped_ones = {thing["kind"]: thing for thing in shipped("service", namespace)}
    _settle(shipped_ones["ConfigMap"], built)
    _place(shipped_ones["Deployment"], built[0], cluster, mlflow)
    made += [shipped_ones[kind] for kind in ("ConfigMap", "Deployment", "Service")]
    for thing in made:
        cluster.apply(thing)
    try:
        wait(lambda: _deployment(cluster)["status"].get("readyReplicas"), 120)
        key = first_key("axo")
        with forwarded("axo") as url:
            yield url, key
    finally:
        for thing in reversed(made):
            metadata = thing["metadata"]
            cluster.delete(thing["apiVersion"], thing["kind"], metadata["name"], metadata.get("namespace"))
        wait(lambda: not cluster.list("v1", "Pod", "axo"), 60)
        shutil.rmtree(home)


def _settle(settings: Object, built: tuple[str, ...]) -> None:
    """This node's images and machine in the service's settings."""
    told = yaml.safe_load(settings["data"]["settings.yaml"])
    told["kubernetes"] |= {"service_image": built[0], "trainer_image": built[1]}
    told["machines"] = {"cpu": {"device": "cpu", "cpus": 1, "host_memory_gib": 6, "scratch_gib": 5}}
    del told["reports"]  # this node has no names for services
    settings["data"]["settings.yaml"] = yaml.safe_dump(told)


def _place(deployment: Object, image: str, cluster: Cluster, mlflow: str) -> None:
    """This node's image, the MLflow of the tests, and the API server where pods find it without a proxy."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    (uri,) = (each for each in container["env"] if each["name"] == "AXO_MLFLOW_URI")
    uri["value"] = mlflow
    server = urlsplit(cluster.api.configuration.host)
    container["env"] += [
        {"name": "KUBERNETES_SERVICE_HOST", "value": str(server.hostname)},
        {"name": "KUBERNETES_SERVICE_PORT", "value": str(server.port)},
    ]


def _deployment(cluster: Cluster) -> Object:
    found = cluster.get("apps/v1", "Deployment", "axo", "axo")
    assert found is not None
    return found


def _on_the_node(engine: str, name: str) -> str:
    """The name of an image by its content, once the node has it."""
    commit = subprocess.run(DESCRIBE, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    labels = _labels(engine, name)
    if labels is None:
        pytest.skip(f"there is no image {name}: build it with scripts/images")
    if (of := labels.get("org.opencontainers.image.revision")) != commit:
        pytest.skip(f"{name} is of the commit {of}, and this is {commit}: build it again with scripts/images")
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as client:
        known = f"{name.partition(':')[0]}:{client.inspect_image(name)['Id'][7:19]}"
        if f"docker.io/library/{known}" not in images.names():
            images.forget(f"docker.io/library/{known.partition(':')[0]}:")
            client.tag(name, *known.split(":"))
            load = [ROOT / "scripts/images", "load", known]
            try:
                subprocess.run(load, env={**os.environ, "DOCKER_HOST": engine}, check=True)
            finally:
                client.remove_image(known)  # the name alone
    return known


def _labels(engine: str, name: str) -> dict[str, str] | None:
    """The labels of an image; None where the engine does not have it."""
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as client:
        try:
            return client.inspect_image(name)["Config"]["Labels"] or {}
        except docker.errors.ImageNotFound:
            return None
