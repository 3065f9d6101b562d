"""Values that cannot work are refused before anything is installed, each with its place and what to do."""

from __future__ import annotations

import pytest
from helm import CHART, Helm

SQLITE = CHART / "ci/sqlite-values.yaml"
DIGEST = "does not match pattern '^sha256:[0-9a-f]{64}$'"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("imagee.digest=x", "at '': additional properties 'imagee' not allowed"),
        ("image.tag=1", "at '/image': additional properties 'tag' not allowed"),
        ("image.digest=latest", f"at '/image/digest': 'latest' {DIGEST}"),
        ("image.repository=axo:1", "at '/image/repository': 'axo:1' does not match pattern"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        (
            "service.type=External",
            "at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
        ),
        ("settings.machins.x=1", "at '/settings': additional properties 'machins' not allowed"),
        (
            "settings.machines.gpu.device=tpu",
            "at '/settings/machines/gpu/device': value must be one of 'cpu', 'gpu'",
        ),
        ("settings.backend=local", "at '/settings': additional properties 'backend' not allowed"),
        ("settings.kubernetes.namespace=x", "at '/settings/kubernetes': additional properties 'namespace'"),
        (
            "settings.access.required=false",
            "at '/settings/access': additional properties 'required' not allowed",
        ),
        ("replicas=2", "let database.secret name a Secret with the URL of a PostgreSQL"),
        ("training.namespace=axo", "can mount every Secret of it, so name another one"),
        ("storage.bucket=s3://a/b", "storage.bucket and storage.volume are both set"),
        ("network.bucketCidrs={192.0.2.0/24}", "network.bucketCidrs is set, and storage.bucket is not"),
        ("ingress.enabled=true", "ingress.enabled wants ingress.host"),
        ("httpRoute.enabled=true", "httpRoute.enabled wants httpRoute.hostnames"),
        ("metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.enabled wants metrics.enabled"),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, values: str, said: str) -> None:
    assert said in helm.refused(SQLITE, f"--set={values}")


def test_without_values_it_says_what_is_needed(helm: Helm) -> None:
    said = helm.refused(CHART / "values.yaml")
    for image in ("image", "trainerImage"):
        assert f"at '/{image}/digest': '' {DIGEST}" in said
        assert f"at '/{image}/repository': '' does not match" in said
