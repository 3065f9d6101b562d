"""Kueue on the node, as its own release is installed: its manifests, and its controller in a pod."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node import images, oci, programs
from node.control_plane import ask, tell
from node.places import ADDRESS, API_PORT, ClusterError, wait_for

Object = dict[str, Any]

_NAMESPACE = "/api/v1/namespaces"
_RBAC, _WEBHOOKS = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_CLUSTER_WIDE = {
    "CustomResourceDefinition": _DEFINITIONS,
    "MutatingWebhookConfiguration": f"{_WEBHOOKS}/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": f"{_WEBHOOKS}/validatingwebhookconfigurations",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
    "ClusterRole": f"{_RBAC}/clusterroles",
    "ClusterRoleBinding": f"{_RBAC}/clusterrolebindings",
}
_WITHIN = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Role": _RBAC + "/namespaces/{}/roles",
    "RoleBinding": _RBAC + "/namespaces/{}/rolebindings",
}
_ITS_OWN = "?labelSelector=app.kubernetes.io%2Fname%3Dkueue"
_CONTROLLER = "/apis/apps/v1/namespaces/kueue-system/deployments/kueue-controller-manager"
_VISIBILITY = "/apis/visibility.kueue.x-k8s.io/v1beta2"


def start_kueue() -> None:
    """Returns once it answers: about Jobs that are made, and who waits in which queue."""
    if ask("/readyz") is None:
        raise ClusterError("the node does not run: scripts/cluster up")
    program, manifests = programs.build_kueue()
    image = f"axo.test/kueue:{program.name}"
    if image not in images.names():
        images.load_bytes(oci.archive(image, [oci.layer({"/manager": program})], {"User": "65532:65532"}))
    for thing in _for_the_node(manifests, image):
        _make(thing)
    wait_for("Kueue was not ready", _answers, 120)


def stop_kueue() -> None:
    """With all that stood in its queues; its definitions first, whose objects it alone can let go."""
    tell("DELETE", _DEFINITIONS + _ITS_OWN)
    wait_for("Kueue did not let its queues go", lambda: _has_none(_DEFINITIONS + _ITS_OWN), 60)
    for kind in (*_CLUSTER_WIDE.values(), _WITHIN["RoleBinding"].format("kube-system")):
        tell("DELETE", kind + _ITS_OWN)
    if ask(f"{_NAMESPACE}/kueue-system"):
        tell("DELETE", f"{_NAMESPACE}/kueue-system")
    wait_for("Kueue did not leave", lambda: ask(f"{_NAMESPACE}/kueue-system") is None, 60)


def _for_the_node(manifests: Path, image: str) -> Iterator[Object]:
    """What its installation is made of, with this image, and its way to this API server."""
    for thing in json.loads(manifests.read_text()):
        if thing["kind"] == "Deployment":
            (container,) = thing["spec"]["template"]["spec"]["containers"]
            way = {"KUBERNETES_SERVICE_HOST": ADDRESS, "KUBERNETES_SERVICE_PORT": str(API_PORT)}
            container["env"] = [{"name": name, "value": value} for name, value in way.items()]
            container |= {"image": image, "imagePullPolicy": "IfNotPresent"}
            container["resources"]["requests"]["cpu"] = "50m"
            container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 1}
        yield thing


def _make(thing: Object) -> None:
    kind, namespace = thing["kind"], thing["metadata"].get("namespace")
    within = _WITHIN[kind].format(namespace) if namespace else ""
    try:
        tell("POST", within or _CLUSTER_WIDE.get(kind, _NAMESPACE), thing)
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it is there already
            raise ClusterError(f"Kueue's {kind} was refused: {error.read().decode()}") from error


def _answers() -> bool:
    status = json.loads(ask(_CONTROLLER) or "{}").get("status", {})
    return bool(status.get("readyReplicas")) and ask(_VISIBILITY) is not None


def _has_none(kind: str) -> bool:
    found = ask(kind)
    return found is not None and not json.loads(found)["items"]
