"""The Job that is sent for a launch, and the other manifests that ship: no wider than they must be."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.backend_sections import KubernetesSection
from orchestrator.backends import LaunchRequest, ReportTo
from orchestrator.backends.kubernetes.manifest import job_manifest, read_template
from orchestrator.errors import BackendError, SettingsError
from orchestrator.machines import Machine
from orchestrator.shipped import shipped_folder

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = KubernetesSection(
    namespace="axo-training",
    service_image="registry.example/axo@sha256:" + "1" * 64,
    trainer_image="registry.example/axo-trainer@sha256:" + "2" * 64,
    storage_claim="axo-storage",
    secrets=("hub", "s3"),
)
A100 = Machine(
    "a100-4",
    "gpu",
    4,
    cpus=16,
    host_memory_gib=256,
    scratch_gib=100,
    node_selector={"gpu": "a100"},
    tolerations=({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},),
    priority="axo-spare",
)
CPU = Machine("cpu", "cpu")
LAUNCHES = {
    "prepare": LaunchRequest("triage-abcde", 1, "prepare", "file:///srv/axo", CPU, (), ("hub", "s3")),
    "train": LaunchRequest(
        "triage-abcde",
        2,
        "train",
        "file:///srv/axo",
        A100,
        ("models/m", "datasets/d"),
        report=ReportTo("http://axo.axo.svc:8520"),
    ),
}
LAUNCHES["queued"] = replace(LAUNCHES["train"], queue="gpus", priority="axo-urgent")
MANIFESTS = sorted(shipped_folder("k8s").rglob("*.yaml"))


def manifest(launch: LaunchRequest) -> dict[str, Any]:
    return job_manifest(read_template(None), launch, SETTINGS)


def things(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((shipped_folder("k8s") / name).read_text()))


@pytest.mark.parametrize("name", LAUNCHES)
def test_the_job_is_the_golden_one(name: str) -> None:
    text = yaml.safe_dump(manifest(LAUNCHES[name]), sort_keys=False, width=110)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("AXO_UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_laying_over_leaves_the_template_as_it_was() -> None:
    template = read_template(None)
    before = yaml.safe_dump(template)
    job_manifest(template, LAUNCHES["prepare"], SETTINGS)
    assert yaml.safe_dump(template) == before


def test_devices_are_texts_and_asked_for_as_much_as_allowed() -> None:
    """Kubernetes refuses a limit of GPUs that differs from the request; a client's model refuses numbers."""
    migs = replace(LAUNCHES["train"], machine=replace(A100, gpu_resource="nvidia.com/mig-3g.40gb", devices=2))
    resources = manifest(migs)["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert (
        resources["limits"]["nvidia.com/mig-3g.40gb"]
        == resources["requests"]["nvidia.com/mig-3g.40gb"]
        == "2"
    )


def variables(template: dict[str, Any], machine: Machine) -> dict[str, str]:
    job = job_manifest(template, replace(LAUNCHES["train"], machine=machine), SETTINGS)
    return {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("cpus", "devices", "threads"), [(None, 1, None), (0.5, 1, "1"), (8, 1, "8"), (16, 4, "4"), (7.5, 2, "3")]
)
def test_processes_compute_with_the_threads_of_their_share(
    cpus: float | None, devices: int, threads: str | None
) -> None:
    told = variables(read_template(None), replace(A100, cpus=cpus, devices=devices))
    assert told.get("OMP_NUM_THREADS") == told.get("RAYON_NUM_THREADS") == threads
    assert told.get("POLARS_MAX_THREADS") == threads


def test_a_variable_of_the_operators_own_job_stays() -> None:
    template = read_template(None)
    template["spec"]["template"]["spec"]["containers"][0]["env"].append(
        {"name": "OMP_NUM_THREADS", "value": "3"}
    )
    assert variables(template, A100)["OMP_NUM_THREADS"] == "3"


def test_the_scratch_volume_is_as_large_as_the_machine_says() -> None:
    volumes = manifest(LAUNCHES["train"])["spec"]["template"]["spec"]["volumes"]
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "102400Mi"}} in volumes


def test_only_preparing_may_go_out_and_gets_secrets() -> None:
    (policy,) = (each for each in things("network.yaml") if each["metadata"]["name"] == "prepare-fetches")
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    labels = {
        name: manifest(launch)["spec"]["template"]["metadata"]["labels"] for name, launch in LAUNCHES.items()
    }
    assert selected <= labels["prepare"].items()
    assert not selected <= labels["train"].items()


def test_without_a_queue_a_priority_is_the_pods() -> None:
    urgent = manifest(replace(LAUNCHES["train"], priority="axo-urgent"))
    assert urgent["spec"]["template"]["spec"]["priorityClassName"] == "axo-urgent"
    assert "suspend" not in urgent["spec"]


def test_the_queues_that_ship_are_those_that_launches_can_name() -> None:
    made = {thing["kind"]: thing for thing in things("admin/queues.yaml")}
    queue, classes = made["LocalQueue"], [t for t in things("admin/queues.yaml") if "value" in t]
    assert queue["metadata"]["namespace"] == SETTINGS.namespace
    assert queue["spec"]["clusterQueue"] == made["ClusterQueue"]["metadata"]["name"]
    (group,) = made["ClusterQueue"]["spec"]["resourceGroups"]
    asked = manifest(LAUNCHES["queued"])["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert set(asked) <= set(group["coveredResources"])  # else Kueue never admits one
    pods = {thing["metadata"]["name"]: thing["value"] for thing in things("admin/priorities.yaml")}
    assert {thing["metadata"]["name"]: thing["value"] for thing in classes} == pods


def test_a_bucket_is_opened_by_its_secret_alone() -> None:
    for step, launch in LAUNCHES.items():
        pod = manifest(replace(launch, storage="s3://team-a@bucket/axo"))["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["secret-team-a"] == "/secrets/team-a"
        assert "storage" not in mounts
        assert not [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
        assert {"name": "AXO_SECRETS", "value": "/secrets"} in container["env"]
        assert container["args"][0] == "s3://team-a@bucket/axo/runs/triage-abcde", step
    train = manifest(replace(LAUNCHES["train"], storage="s3://bucket"))["spec"]["template"]["spec"]
    assert not [volume for volume in train["volumes"] if "secret" in volume]


def test_a_secret_for_storage_and_for_the_spec_is_mounted_once() -> None:
    pod = manifest(replace(LAUNCHES["prepare"], storage="s3://hub@bucket"))["spec"]["template"]["spec"]
    names = [volume["name"] for volume in pod["volumes"]]
    assert names.count("secret-hub") == 1


def test_a_folder_without_a_volume_is_refused() -> None:
    section = SETTINGS.model_copy(update={"storage_claim": None})
    with pytest.raises(BackendError, match="cannot reach the storage file:///srv/axo"):
        job_manifest(read_template(None), LAUNCHES["train"], section)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("kind: Job", "not a Job"),
        ("{", "not a Job"),
        ("spec: {template: {spec: {containers: [{name: x}]}}}", "no container"),
    ],
)
def test_an_operators_own_job_must_be_one(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(SettingsError, match=what):
        read_template(tmp_path / "job.yaml")


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_every_manifest_loads_and_names_its_things(file: Path) -> None:
    for thing in yaml.safe_load_all(file.read_text()):
        assert {"apiVersion", "kind", "metadata"} <= set(thing)
        assert thing["metadata"].get("name") or file.name == "job.yaml"


def test_the_roles_are_small_and_never_see_a_secret() -> None:
    kinds = [thing["kind"] for file in MANIFESTS for thing in yaml.safe_load_all(file.read_text())]
    assert "ClusterRole" not in kinds
    assert kinds.count("Role") == 2
    assert len(granted("access.yaml")) <= 16
    assert len(granted("kueue.yaml")) <= 3
    pairs = granted("access.yaml") | granted("kueue.yaml")
    assert not [pair for pair in pairs if pair[0] in ("secrets", "*") or pair[1] in ("*", "escalate", "bind")]


@pytest.mark.parametrize("file", ["access.yaml", "kueue.yaml"])
def test_each_right_is_justified_where_it_is_given(file: str) -> None:
    (role,) = (thing for thing in things(file) if thing["kind"] == "Role")
    *texts, _ = (shipped_folder("k8s") / file).read_text().split("  - apiGroups:")
    for rule, text in zip(role["rules"], texts, strict=True):
        (comment,) = re.findall(r"(?:  #.*\n)+$", text)
        told = re.findall(r"([a-z]+(?:, [a-z]+)*):", comment)
        assert {verb for verbs in told for verb in verbs.split(", ")} == set(rule["verbs"])


def granted(file: str) -> set[tuple[str, str]]:
    """Each (resource, verb) of the service's Role in a file."""
    (role,) = (thing for thing in things(file) if thing["kind"] == "Role")
    return {(r, verb) for rule in role["rules"] for r in rule["resources"] for verb in rule["verbs"]}
