"""What tests say to a cluster, in plain dictionaries."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from waiting import wait

from orchestrator.shipped import shipped_folder

ROOT = Path(__file__).parents[2]

Object = dict[str, Any]


def script(*arguments: str) -> str:
    """What `scripts/cluster` prints; where it fails, tests are skipped, and in CI fail, with its reason."""
    done = subprocess.run([ROOT / "scripts/cluster", *arguments], capture_output=True, text=True)
    if done.returncode:
        missing(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip()


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no cluster to test on: {what}")
    pytest.skip(f"no cluster to test on: {what}")


class Cluster:
    """The administrator's view of a cluster, and the image that its nodes have."""

    def __init__(self, kubeconfig: Path, image: str) -> None:
        self.kubeconfig = kubeconfig
        self.image = image

    @cached_property
    def api(self) -> client.ApiClient:
        return config.new_client_from_config(str(self.kubeconfig))

    @cached_property
    def _dynamic(self) -> DynamicClient:
        return DynamicClient(self.api)

    def create(self, version: str, kind: str, body: Object, namespace: str | None = None) -> Object:
        whole = {"apiVersion": version, "kind": kind, **body}
        return self._of(version, kind).create(body=whole, namespace=namespace).to_dict()

    def apply(self, thing: Object) -> None:
        """Make an object as a manifest has it, or make it so."""
        namespace = thing["metadata"].get("namespace")
        try:
            self.create(thing["apiVersion"], thing["kind"], thing, namespace)
        except ApiException as error:
            if error.status != 409:
                raise
            self.change(thing["apiVersion"], thing["kind"], thing["metadata"]["name"], thing, namespace)

    def change(self, version: str, kind: str, name: str, what: Object, namespace: str | None = None) -> None:
        merge = "application/merge-patch+json"
        self._of(version, kind).patch(body=what, name=name, namespace=namespace, content_type=merge)

    def get(self, version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self._of(version, kind).get(name=name, namespace=namespace).to_dict()
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def list(self, version: str, kind: str, namespace: str | None = None, label: str = "") -> list[Object]:
        found = self._of(version, kind).get(namespace=namespace, label_selector=label)
        return list(found.to_dict()["items"])

    def delete(
        self, version: str, kind: str, name: str, namespace: str | None = None, **options: Any
    ) -> None:
        self._of(version, kind).delete(name=name, namespace=namespace, **options)

    def evict(self, pod: str, namespace: str) -> None:
        """Take a pod's place away, as draining its node does."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self._dynamic.request("post", path, body=body)

    def gpus(self) -> int:
        """The most that one node has."""
        nodes = self.list("v1", "Node")
        return max((int(each["status"]["capacity"].get("nvidia.com/gpu", 0)) for each in nodes), default=0)

    def wait_for_account(self, namespace: str) -> None:
        """A pod can be made once its namespace has the account that it runs as."""
        wait(lambda: self.get("v1", "ServiceAccount", "default", namespace))

    def token(self, account: str, namespace: str, **spec: Any) -> str:
        """A token of a service account, good for an hour."""
        spec = {"audiences": [], **spec}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self._dynamic.request("post", path, body=body).status.token)

    def kubeconfig_as(self, account: str, namespace: str) -> str:
        """A kubeconfig with the rights of a service account, good for an hour."""
        whole = yaml.safe_load(self.kubeconfig.read_text())
        whole["users"][0]["user"] = {"token": self.token(account, namespace)}
        return yaml.safe_dump(whole)

    def log(self, pod: str, namespace: str) -> str:
        return str(client.CoreV1Api(self.api).read_namespaced_pod_log(pod, namespace))

    def _of(self, version: str, kind: str) -> Any:
        return self._dynamic.resources.get(api_version=version, kind=kind)


def shipped(file: str, namespace: str) -> list[Object]:
    """The objects of a file under k8s/, for a training namespace of this name."""
    text = (shipped_folder("k8s") / f"{file}.yaml").read_text()
    return list(yaml.safe_load_all(text.replace("axo-training", namespace)))


def make_namespace(cluster: Cluster, name: str) -> None:
    """A training namespace, with all that the shipped manifests put into one."""
    for file in ("namespace", "access", "network"):
        for thing in shipped(file, name):
            cluster.apply(thing)
    cluster.wait_for_account(name)


def volume(namespace: str, claim: str, folder: Path) -> list[Object]:
    """A volume over a folder that every node has, and the claim of it."""
    name = volume_name(namespace, claim)
    terms = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    capacity = {"storage": "1Gi"}
    claimed_by = {"namespace": namespace, "name": claim}
    made_of = {"hostPath": {"path": str(folder)}, "capacity": capacity, "claimRef": claimed_by}
    wanted = {**terms, "resources": {"requests": capacity}, "volumeName": name}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**terms, **made_of},
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claimed_by, "spec": wanted},
    ]


def volume_name(namespace: str, claim: str) -> str:
    return f"{namespace}-{claim}"


def restricted_pod(image: str, command: Sequence[str], limits: Mapping[str, str]) -> Object:
    """The spec of a pod that Pod Security's strictest level lets in."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "resources": {"limits": dict(limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
