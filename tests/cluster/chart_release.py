"""The chart as a release in the node of this machine: pods run this machine's environment."""

from __future__ import annotations

import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cluster_parts import Cluster, Object, volume, volume_name
from helm import CHART, Helm
from kubernetes.client.exceptions import ApiException
from node import images, python_image
from quick_world import MACHINES, quick_job
from waiting import wait

_ENVIRONMENT = "environment"
_PATIENCE = "--timeout=180s"


class Release:
    """Its namespaces, its folders on this machine, and what an operator does to it."""

    def __init__(self, cluster: Cluster, helm: Helm, folder: Path, values: Object) -> None:
        self.cluster, self.helm, self.folder = cluster, helm, folder
        self.namespace = folder.name
        self.training = f"{self.namespace}-runs"
        self.storage, self.home = folder / "storage", folder / "home"
        self.values = self._values() | values

    def install(self) -> str:
        """What it says to do next."""
        return self._helm("install", CHART, self._written({}))

    def upgrade(self, **settings: Any) -> str:
        """With these changes of the settings; what it says to do next."""
        return self._helm("upgrade", CHART, self._written(settings))

    def rollback(self) -> None:
        self._helm("rollback")

    def uninstall(self) -> None:
        self._helm("uninstall")

    def deployment(self) -> Object | None:
        return self.cluster.get("apps/v1", "Deployment", "axo", self.namespace)

    def logs(self) -> str:
        """What the pods of the service have said."""
        said = []
        for pod in self.cluster.list("v1", "Pod", self.namespace):
            with suppress(ApiException):  # it has gone meanwhile
                said.append(self.cluster.log(pod["metadata"]["name"], self.namespace))
        return "\n".join(said)

    def has(self, version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        return self.cluster.get(version, kind, name, namespace) is not None

    def _helm(self, verb: str, *more: str | Path) -> str:
        to = (f"--namespace={self.namespace}", f"--kubeconfig={self.cluster.kubeconfig}")
        return self.helm.run(verb, "axo", *more, *to, "--wait", _PATIENCE)

    def _written(self, settings: Object) -> str:
        changed = {**self.values, "settings": {**self.values["settings"], **settings}}
        (self.folder / "values.yaml").write_text(yaml.safe_dump(changed))
        return f"--values={self.folder / 'values.yaml'}"

    def _values(self) -> Object:
        repository, _, digest = _image().partition("@")
        image = {"repository": repository, "digest": digest}
        server = urlsplit(self.cluster.api.configuration.host)
        mounted = {"name": _ENVIRONMENT, "mountPath": sys.prefix, "readOnly": True}
        return {
            "image": image,
            "trainerImage": image,
            "home": {"storageClass": ""},
            "storage": {"volume": {"hostPath": {"path": str(self.storage)}}, "size": "1Gi"},
            "reports": False,  # this node has no names for services
            "settings": {"machines": MACHINES},
            "training": {"namespace": self.training, "job": quick_job()},
            "env": [
                {"name": "KUBERNETES_SERVICE_HOST", "value": server.hostname},
                {"name": "KUBERNETES_SERVICE_PORT", "value": str(server.port)},
            ],
            "volumes": [{"name": _ENVIRONMENT, "persistentVolumeClaim": {"claimName": _ENVIRONMENT}}],
            "volumeMounts": [mounted],
        }


@contextmanager
def releasing(cluster: Cluster, helm: Helm, top: Path, **values: Any) -> Iterator[Release]:
    """A release that can be installed, in a namespace of restricted pods alone; removed afterwards."""
    release = Release(cluster, helm, top / f"axo-chart-{uuid.uuid4().hex[:8]}", values)
    for folder in (release.storage, release.home):
        folder.mkdir(parents=True)
    for thing in _beside(release):
        cluster.apply(thing)
    cluster.wait_for_account(release.namespace)
    try:
        yield release
    except BaseException as error:
        error.add_note(release.logs())
        raise
    finally:
        _remove(release)


def _image() -> str:
    name, archive = python_image.make(Path(sys.prefix), "axo")
    if name not in images.names():
        images.load_bytes(archive)
    return images.pinned(name)


def _beside(release: Release) -> Iterator[Object]:
    """The namespace, a volume of this machine's environment, and one for the claim that the chart makes."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": release.namespace, "labels": labels}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    yield from volume(release.namespace, _ENVIRONMENT, Path(sys.prefix))
    home, _ = volume(release.namespace, "axo-home", release.home)
    home["spec"] |= {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}}
    yield home


def _remove(release: Release) -> None:
    cluster, namespaces = release.cluster, (release.namespace, release.training)
    for namespace in namespaces:
        if release.has("v1", "Namespace", namespace):
            cluster.delete("v1", "Namespace", namespace)
    wait(lambda: not any(release.has("v1", "Namespace", each) for each in namespaces), 120)
    names = [volume_name(release.namespace, claim) for claim in (_ENVIRONMENT, "axo-home")]
    for name in [*names, *(volume_name(each, "axo-storage") for each in namespaces)]:
        if release.has("v1", "PersistentVolume", name):
            cluster.delete("v1", "PersistentVolume", name)
    shutil.rmtree(release.folder)
