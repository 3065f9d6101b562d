"""Launches as Jobs of a real cluster: what every backend promises, and what only a cluster does and says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from backend_promises import EnginePromises
from cluster_parts import Object
from cluster_world import GPU, SMALL, KubernetesLab, pod_of, sees
from kueue_queue import has_kueue
from waiting import wait

from orchestrator.backends import BackendAway, BackendFull, LaunchRequest
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.errors import BackendError
from orchestrator.machines import Machine
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase


class TestKubernetes(EnginePromises):
    @pytest.mark.parametrize("code", [65, 70])  # 75 is followed by another pod: see below
    def test_it_ends_with_its_code(self, lab: KubernetesLab, code: int) -> None:
        super().test_it_ends_with_its_code(lab, code)


def test_a_launch_stays_one_job_while_its_place_is_taken_away(lab: KubernetesLab) -> None:
    backend = lab.backend()
    launch = lab.started(backend)
    (first,) = lab.pods(launch)
    uid = (lab.job(launch) or {})["metadata"]["uid"]
    lab.cluster.delete("v1", "Pod", first, lab.namespace)  # leaves with 75, and no DisruptionTarget
    wait(lambda: len(lab.starts(launch)) == 2)
    lab.cluster.evict(lab.pods(launch)[-1], lab.namespace)
    seen = set()

    def third() -> bool:
        now = backend.observe(launch.name)
        assert now.alive
        seen.add(now.reason)
        return len(lab.starts(launch)) == 3

    wait(third)
    assert Reason.EVICTED in seen
    assert (lab.job(launch) or {})["metadata"]["uid"] == uid
    lab.leave(launch, 0)
    assert sees(backend, launch, Phase.ENDED, None).exit_code == 0


def test_a_stopped_launch_is_seen_until_its_pod_is_gone(lab: KubernetesLab) -> None:
    backend = lab.backend()
    launch = lab.started(backend)
    backend.stop(launch.name, 0.0)
    assert backend.observe(launch.name).phase is Phase.RUNNING
    sees(backend, launch, Phase.MISSING, None)
    assert lab.pods(launch) == []
    assert len(lab.starts(launch)) == 1


def test_a_job_of_somebody_else_is_neither_taken_nor_touched(lab: KubernetesLab) -> None:
    backend, launch = lab.backend(), lab.request()
    theirs = dict(backend.request(launch))
    theirs["metadata"]["annotations"]["axo/storage"] = "file:///of/another/service"
    lab.cluster.create("batch/v1", "Job", theirs, lab.namespace)
    with pytest.raises(BackendError, match="somebody else's Job is called run-a-1"):
        backend.launch(launch)
    assert backend.observe(launch.name) == Observation(Phase.MISSING)
    assert backend.launches() == []
    backend.stop(launch.name, 0.0)
    assert "deletionTimestamp" not in (lab.job(launch) or {})["metadata"]


def test_a_cluster_that_does_not_answer_is_asked_again(lab: KubernetesLab) -> None:
    away, launch = lab.away(), lab.request()
    for call in (lambda: away.launch(launch), lambda: away.stop(launch.name, 0.0)):
        with pytest.raises(BackendAway, match="does not answer"):
            call()


def test_the_server_is_asked_whether_it_would_take_a_launch(lab: KubernetesLab) -> None:
    launch = lab.request()
    lab.backend().check(launch)
    with pytest.raises(BackendError, match="nonsense"):
        lab.backend(lambda job: job["spec"].update(podReplacementPolicy="nonsense")).check(launch)
    assert lab.job(launch) is None


def test_why_a_launch_waits(lab: KubernetesLab) -> None:
    """One namespace for all: each is launched, and each says its own reason."""
    cases: list[tuple[str, KubernetesBackend, Machine, Reason, str]] = [
        ("gpus", lab.backend(), replace(GPU, devices=3), Reason.UNSCHEDULABLE, "Insufficient nvidia.com/gpu"),
        (
            "place",
            lab.backend(),
            replace(SMALL, node_selector={"no": "such"}),
            Reason.UNSCHEDULABLE,
            "selector",
        ),
        ("claim", lab.backend(storage_claim="none"), SMALL, Reason.UNSCHEDULABLE, 'claim "none" not found'),
        ("image", lab.backend(trainer_image="axo.test/none:1"), SMALL, Reason.IMAGE, "axo.test/none:1"),
        (
            "root",
            lab.backend(lambda job: pod_of(job)["securityContext"].update(runAsNonRoot=False)),
            SMALL,
            Reason.ADMISSION,
            "violates PodSecurity",
        ),
        (
            "queue",
            lab.backend(lambda job: job["spec"].update(suspend=True)),
            SMALL,
            Reason.SUSPENDED,
            "kubectl patch job queue-1",
        ),
        (
            "variable",
            lab.backend(lambda job: pod_of(job)["containers"][0]["env"].append(from_secret("none"))),
            SMALL,
            Reason.CONTAINER,
            'secret "none" not found',
        ),
    ]
    for run, backend, machine, _, _ in cases:
        backend.launch(lab.request(run, machine))
    for run, backend, machine, reason, words in cases:
        assert words in sees(backend, lab.request(run, machine), Phase.PENDING, reason).detail
    backend, launch = lab.backend(secrets=("none",)), lab.request("secret", secrets=("none",))
    backend.launch(launch)
    assert 'secret "none" not found' in sees(backend, launch, Phase.PENDING, Reason.VOLUME).detail
    lab.cluster.apply(quota(lab.namespace, "pods"))
    backend, launch = lab.backend(), lab.request("quota")
    backend.launch(launch)
    assert "exceeded quota: none" in sees(backend, launch, Phase.PENDING, Reason.QUOTA).detail


def from_secret(name: str) -> Object:
    return {"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "a"}}}


def quota(namespace: str, what: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": namespace},
        "spec": {"hard": {what: "0"}},
    }


def test_a_launch_that_the_quota_of_jobs_has_no_room_for_is_made_once_it_has(lab: KubernetesLab) -> None:
    backend = lab.backend()
    lab.cluster.apply(quota(lab.namespace, "count/jobs.batch"))
    refused: list[LaunchRequest] = []

    def launch(run: str) -> None:
        refused[:] = [lab.request(run)]
        backend.launch(refused[0])

    with pytest.raises(BackendFull, match=r"exceeded quota: none, requested: count/jobs\.batch=1"):
        list(map(launch, (f"run-{number}" for number in range(200))))  # until it is in force
    assert lab.job(refused[0]) is None
    lab.cluster.delete("v1", "ResourceQuota", "none", lab.namespace)
    lab.started(backend, refused[0].run)


def test_a_job_tells_of_its_newest_checkpoint_each_half_hour(lab: KubernetesLab) -> None:
    now = [1_796_040_000.0]
    backend = KubernetesBackend(lab.settings(), clock=lambda: now[0])
    launch = lab.started(backend)

    def told() -> str | None:
        found: str | None = (lab.job(launch) or {})["metadata"]["annotations"].get("axo/checkpoint-step")
        return found

    def note(step: int) -> str | None:
        backend.note_checkpoint(launch.name, step, now[0])
        return told()

    wait(lambda: note(4) == "4")
    version = (lab.job(launch) or {})["metadata"]["resourceVersion"]
    for _ in range(5):
        now[0] += 300
        assert note(8) == "4"
    assert (lab.job(launch) or {})["metadata"]["resourceVersion"] == version
    now[0] += 300
    wait(lambda: note(12) == "12")
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)
    backend.note_checkpoint(launch.name, 16, now[0])  # a Job that is gone has nothing to tell


def test_what_fills_its_scratch_disk_is_said_so(lab: KubernetesLab) -> None:
    """The kubelet evicts it, and its Job would put another in its place for ever."""
    backend = lab.backend()
    launch = lab.started(backend)
    lab.leave(launch, "scratch")
    # The kubelet looks at disks every ten seconds, and measures each folder then.
    seen = wait(lambda: now if (now := backend.observe(launch.name)).reason is Reason.SCRATCH else None, 180)
    assert seen.alive
    assert "exceeds the" in seen.detail
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)


def test_a_deadline_of_the_cluster_is_said_so(lab: KubernetesLab) -> None:
    backend, launch = lab.backend(lambda job: job["spec"].update(activeDeadlineSeconds=2)), lab.request()
    backend.launch(launch)
    assert "longer than specified deadline" in sees(backend, launch, Phase.ENDED, Reason.DEADLINE).detail


def test_a_secret_that_is_not_allowed_never_gets_near_a_pod(lab: KubernetesLab) -> None:
    with pytest.raises(BackendError, match="'hub' may not be used") as refused:
        lab.backend().launch(lab.request(secrets=("hub",)))
    assert refused.value.hint == (
        "the operator can allow it: `kubernetes: {secrets: [hub]}` in the settings file"
    )


def test_a_queue_of_a_cluster_without_kueue_is_no_queue(lab: KubernetesLab) -> None:
    if has_kueue(lab.cluster):
        pytest.skip("this cluster has Kueue")
    backend, launch = lab.backend(), lab.request(machine=GPU, queue="gpus")
    backend.launch(launch)
    told = sees(backend, launch, Phase.PENDING, Reason.NO_QUEUE)
    assert told.detail == "the cluster has no Kueue, so it has no queue gpus either"
    backend.stop(launch.name, 0.0)
    sees(backend, launch, Phase.MISSING, None)
