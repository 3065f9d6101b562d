"""The cluster of the tests is a real one: it runs pods, refuses what is not restricted, and counts GPUs."""

from __future__ import annotations

import os

import pytest
from cluster_parts import Cluster, Object, restricted_pod
from kubernetes.client.exceptions import ApiException
from node import images, oci
from waiting import wait

SMALL = {"cpu": "100m", "memory": "64Mi"}


def pod(cluster: Cluster, namespace: str, name: str) -> Object:
    found = cluster.get("v1", "Pod", name, namespace)
    assert found is not None
    return found


def test_a_restricted_job_completes(cluster: Cluster, namespace: str) -> None:
    program = "import os; print('user', os.getuid()); print('root is', os.access('/', os.W_OK))"
    template = {"spec": restricted_pod(cluster.image, ["python", "-c", program], SMALL)}
    job = {"metadata": {"name": "hello"}, "spec": {"backoffLimit": 0, "template": template}}
    cluster.create("batch/v1", "Job", job, namespace)
    wait(lambda: (cluster.get("batch/v1", "Job", "hello", namespace) or {})["status"].get("succeeded"))
    (made,) = cluster.list("v1", "Pod", namespace, label="job-name=hello")
    assert cluster.log(made["metadata"]["name"], namespace) == "user 65532\nroot is False\n"


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster, namespace: str) -> None:
    loose = restricted_pod(cluster.image, ["python"], SMALL)
    del loose["containers"][0]["securityContext"]
    with pytest.raises(ApiException, match="violates PodSecurity"):
        cluster.create("v1", "Pod", {"metadata": {"name": "loose"}, "spec": loose}, namespace)


def test_a_third_pod_waits_for_one_of_two_gpus(cluster: Cluster, namespace: str) -> None:
    for name in ("first", "second", "third"):
        spec = restricted_pod(
            cluster.image, ["python", "-c", "import time; time.sleep(600)"], {**SMALL, "nvidia.com/gpu": "1"}
        )
        cluster.create("v1", "Pod", {"metadata": {"name": name}, "spec": spec}, namespace)
        if name != "third":
            wait(lambda name=name: pod(cluster, namespace, name)["status"]["phase"] == "Running")
    (scheduled,) = wait(lambda: pod(cluster, namespace, "third")["status"].get("conditions"))
    assert scheduled["reason"] == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in scheduled["message"]
    cluster.delete("v1", "Pod", "first", namespace)
    wait(lambda: pod(cluster, namespace, "third")["status"]["phase"] == "Running")


@pytest.mark.skipif("KUBECONFIG" in os.environ, reason="images go to the node of this machine alone")
@pytest.mark.usefixtures("cluster")
def test_a_forgotten_image_is_gone_by_each_of_its_names() -> None:
    """The node itself calls it by its digest too, which alone would keep its gigabytes."""
    before = images.names()
    images.load_bytes(oci.archive("axo.test/forgotten:1", [oci.layer({"/nothing": b"here"})], {}))
    wait(lambda: any(name.startswith("sha256:") for name in images.names() - before))
    images.forget("axo.test/forgotten:")
    assert images.names() <= before
