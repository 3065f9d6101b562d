"""The manifests that ship, on a real cluster: enough for what they allow, and a wall for the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cluster_parts import Object, shipped
from cluster_world import GPU, IMAGE, KubernetesLab, Recording, granted, pod_of, refused, sees
from waiting import wait

from orchestrator.access.provider import DISCOVERY
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.backends.kubernetes.api import Api
from orchestrator.errors import BackendError
from orchestrator.reasons import Reason
from orchestrator.runs import Phase


@pytest.mark.usefixtures("as_the_service")
def test_a_launch_uses_all_that_its_role_grants_and_nothing_else(lab: KubernetesLab) -> None:
    api = Recording()
    backend = KubernetesBackend(lab.settings(), api)
    launch = lab.request()
    backend.launch(launch)
    assert backend.observe(launch.name).phase is Phase.PENDING
    sees(backend, launch, Phase.RUNNING, None)
    assert backend.launches() == [launch.name]
    wait(lambda: backend.logs(launch.name))
    backend.note_checkpoint(launch.name, 4, 0.0)
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)
    backend.close()
    assert set(api.asked) == granted("access", lab.namespace)


def test_looking_at_many_launches_asks_nothing(lab: KubernetesLab) -> None:
    """Two connections follow them all, so what waits costs the API server nothing."""
    api = Recording()
    backend = KubernetesBackend(lab.settings(lambda job: job["spec"].update(suspend=True)), api)
    launches = [lab.request(f"run-{number}") for number in range(20)]
    for launch in launches:
        backend.launch(launch)
    for launch in launches:
        sees(backend, launch, Phase.PENDING, Reason.SUSPENDED)
    wait(lambda: {("jobs", "watch"), ("pods", "watch")} <= set(api.asked))
    before = len(api.asked)
    for launch in launches * 50:
        assert backend.observe(launch.name).reason is Reason.SUSPENDED
    assert len(api.asked) == before
    for launch in launches:
        backend.stop(launch.name, 0.0)
        sees(backend, launch, Phase.MISSING, None)
    backend.close()


@pytest.mark.usefixtures("as_the_service")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/{}/secrets",
        "/api/v1/namespaces/{}/configmaps",
        "/apis/batch/v1/namespaces/default/jobs",
        "/api/v1/nodes",
    ],
)
def test_the_service_sees_nothing_else(lab: KubernetesLab, path: str) -> None:
    with pytest.raises(BackendError, match='User "system:serviceaccount:axo:axo" cannot list resource'):
        Api().get(path.format(lab.namespace))


@pytest.mark.usefixtures("as_the_service")
def test_every_account_may_read_the_keys_that_tokens_are_signed_with() -> None:
    """By a role of the cluster's own, so reports need none of ours."""
    api = Api()
    assert api.get(DISCOVERY)["issuer"]
    assert api.get_as("/openid/v1/jwks", "application/jwk-set+json")["keys"]
    api.close()


@pytest.mark.usefixtures("admission")
def test_the_admission_policy_lets_launches_in_and_nothing_else(lab: KubernetesLab) -> None:
    assert refused(lab) == ""
    assert refused(lab, secrets=("hub",)) == ""
    assert "named by their digest" in refused(lab, trainer_image="registry.example/axo:1")
    assert "images must be one of" in refused(lab, trainer_image=IMAGE.replace("axo", "other"))
    assert "service account axo-launch" in refused(lab, lambda job: pod_of(job).pop("serviceAccountName"))
    assert "no token" in refused(lab, lambda job: pod_of(job).pop("automountServiceAccountToken"))
    assert "never put into the environment" in refused(lab, lambda job: from_secrets(pod_of(job)))
    assert "volumes may be" in refused(lab, storage_claim="of-others")
    assert refused(lab, lambda job: pod_of(job)["volumes"].append(token_for("axo-reports"))) == ""
    for volume in (
        token_for("https://kubernetes.default.svc"),
        {"hostPath": {"path": "/"}},
        {"secret": {"secretName": "other"}},
        {"configMap": {"name": "x"}},
    ):
        assert "volumes may be" in refused(
            lab, lambda job, v=volume: pod_of(job)["volumes"].append({"name": "v"} | v)
        )


@pytest.mark.usefixtures("admission")
def test_what_is_no_longer_allowed_can_be_told_about_and_removed(lab: KubernetesLab) -> None:
    """The allowed images may change while Jobs of the old ones are there, as by an upgrade."""
    backend = lab.backend(lambda job: job["spec"].update(suspend=True), trainer_image=IMAGE)
    launch = lab.request()
    backend.launch(launch)
    sees(backend, launch, Phase.PENDING, Reason.SUSPENDED)
    allowed = {"data": {"images": "registry.example/new"}}
    lab.cluster.change("v1", "ConfigMap", "axo-allowed", allowed, lab.namespace)
    wait(lambda: "images must be one of" in refused(lab))
    backend.note_checkpoint(launch.name, 4, 0.0)
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)


def token_for(audience: str) -> Object:
    """A volume with a token of the pod's service account."""
    token = {"audience": audience, "path": "token"}
    return {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}


def from_secrets(pod: Object) -> None:
    pod["containers"][0]["envFrom"] = [{"secretRef": {"name": "hub"}}]


def test_more_urgent_training_takes_the_place_of_other_training(lab: KubernetesLab) -> None:
    for thing in shipped("admin/priorities", lab.namespace):
        lab.cluster.apply(thing)
    backend = lab.backend()
    spare = lab.request("spare", replace(GPU, devices=2, priority="axo-spare"))
    urgent = lab.request("urgent", replace(GPU, priority="axo-urgent"))
    (lab.folder(spare) / "deaf").touch()  # so that it can be seen leaving
    backend.launch(spare)
    wait(lambda: lab.starts(spare))
    backend.launch(urgent)
    sees(backend, spare, Phase.RUNNING, Reason.PREEMPTED)
    wait(lambda: lab.starts(urgent))
    sees(backend, spare, Phase.PENDING, Reason.UNSCHEDULABLE)
    lab.leave(urgent, 0)
    wait(lambda: len(lab.starts(spare)) == 2)
