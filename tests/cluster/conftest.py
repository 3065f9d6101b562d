"""A real Kubernetes: the one that KUBECONFIG names, or one node on this machine (scripts/cluster)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_parts import Cluster, make_namespace, missing, script, shipped, volume, volume_name
from cluster_world import IMAGE, KubernetesLab, refused, with_context_away
from kueue_queue import has_kueue
from node.places import KUBECONFIG
from waiting import wait

GPUS = 2


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    if named := os.environ.get("KUBECONFIG"):
        yield Path(named)
        return
    somebodys = KUBECONFIG.exists()  # also where a test has just killed a part of it
    yield Path(script("up"))
    if not somebodys:
        script("down")


@pytest.fixture(scope="session")
def image(kubeconfig: Path) -> str:
    """An image that holds Python and this package, known to every node."""
    if "KUBECONFIG" not in os.environ:
        return script("image")
    load = os.environ.get("AXO_CLUSTER_LOAD")
    if not load:
        missing("let AXO_CLUSTER_LOAD say how it takes an image archive, such as `kind load image-archive`")
    with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
        name = script("image", archive.name)
        subprocess.run([*load.split(), archive.name], check=True)
    return name


@pytest.fixture(scope="session")
def cluster(kubeconfig: Path, image: str) -> Cluster:
    found = Cluster(kubeconfig, image)
    if found.gpus() < GPUS:
        claim = f'{{"status": {{"capacity": {{"nvidia.com/gpu": "{GPUS}"}}}}}}'
        missing(f"no node has {GPUS} GPUs: kubectl patch node NODE --subresource=status -p '{claim}'")
    return found


@pytest.fixture(scope="session")
def kueue(cluster: Cluster) -> Iterator[None]:
    """Kueue: the cluster's own, or ours from the first test that wants it."""
    if has_kueue(cluster):
        yield
        return
    if "KUBECONFIG" in os.environ:
        missing("it has no Kueue: https://kueue.sigs.k8s.io/docs/installation")
    script("kueue", "up")
    yield
    script("kueue", "down")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A training namespace of the test's own."""
    name = f"axo-test-{uuid.uuid4().hex[:8]}"
    make_namespace(cluster, name)
    yield name
    cluster.delete("v1", "Namespace", name)


@pytest.fixture
def storage(cluster: Cluster, namespace: str) -> Iterator[Path]:
    """A folder at one place for this process and the namespace's pods, through the claim `axo-storage`."""
    top = Path(os.environ.get("AXO_CLUSTER_STORAGE") or "/tmp/axo-cluster-storage")
    before = os.umask(0)  # in production the service runs as the same user as its launches
    folder = top / namespace
    folder.mkdir(parents=True)
    for thing in volume(namespace, "axo-storage", folder):
        cluster.apply(thing)
    yield folder
    os.umask(before)
    cluster.delete("v1", "PersistentVolume", volume_name(namespace, "axo-storage"))
    shutil.rmtree(folder)


@pytest.fixture
def lab(
    cluster: Cluster, namespace: str, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> KubernetesLab:
    file = tmp_path / "kubeconfig"
    file.write_text(with_context_away(cluster.kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(file))
    return KubernetesLab(cluster, namespace, storage)


@pytest.fixture
def as_the_service(lab: KubernetesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, the cluster sees the service's own account, with its Roles and nothing else."""
    (tmp_path / "kubeconfig").write_text(lab.cluster.kubeconfig_as("axo", "axo"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))


@pytest.fixture
def admission(cluster: Cluster, lab: KubernetesLab) -> None:
    """The administrator's admission policy, in force for this namespace alone.

    It stays, bound to a label that only such a namespace has: an API server that has seen the last binding
    with parameters go finds none for the next (seen with 1.36.3).
    """
    policy, binding, allowed = (
        thing for file in ("admission", "allowed") for thing in shipped(f"admin/{file}", lab.namespace)
    )
    label = {"axo-test/admission": "on"}
    binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"].update(label)
    allowed["data"].update(images=IMAGE.partition("@")[0], secrets="hub s3")
    (namespace,) = (
        thing for thing in shipped("namespace", lab.namespace) if thing["metadata"]["name"] == lab.namespace
    )
    namespace["metadata"]["labels"].update(label)
    for thing in (policy, allowed, binding, namespace):
        cluster.apply(thing)
    wait(lambda: "by their digest" in refused(lab, trainer_image="axo:1"))  # in force within seconds
