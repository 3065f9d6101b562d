"""What the chart makes of values: the objects of k8s/, settings that the service reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from docs_pages import snippets
from helm import CHART, ROOT, VALUES, Helm, Object

from orchestrator.settings_file import SettingsFile, read_settings_file

SQLITE, POSTGRESQL, EVERYTHING = (
    CHART / f"ci/{name}-values.yaml" for name in ("sqlite", "postgresql", "everything")
)
PAGE = ROOT / "docs/how-to/kubernetes.md"
QUEUES = ("--set=kueue.enabled=true", "--set=admin.enabled=true", "--set=training.secrets={hub}")


def test_every_set_of_values_has_its_kind() -> None:
    assert set(VALUES) == {SQLITE, POSTGRESQL, EVERYTHING}


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_lint_has_nothing_against_it(helm: Helm, values: Path) -> None:
    assert "[WARNING]" not in helm.run("lint", "--strict", CHART, f"--values={values}")


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_same_values_give_the_same_bytes(helm: Helm, values: Path) -> None:
    assert helm.template(values) == helm.template(values)


def test_it_makes_what_the_plain_manifests_have(helm: Helm) -> None:
    """So that neither is changed without the other."""
    made = {named(thing): bare(thing) for thing in helm.objects(SQLITE)}
    plain = of_k8s("namespace", "access", "network", "service")
    del plain["Namespace", "", "axo"]  # Helm's own to make
    claim = plain["PersistentVolumeClaim", "axo", "axo-storage"]
    claim["spec"] |= {
        "storageClassName": "",
        "volumeName": "axo-axo-storage",
    }  # of a volume that it makes too
    settings = [both.pop(("ConfigMap", "axo", "axo-settings")) for both in (made, plain)]
    assert settings_of(settings[0]) == settings_of(settings[1])
    beside = {name: made.pop(name) for name in list(made) if name not in plain}
    assert made == plain
    assert [kind for kind, *_ in beside] == ["PersistentVolume", "PersistentVolume", "PersistentVolumeClaim"]


def test_what_is_an_administrators_is_that_of_the_plain_manifests(helm: Helm) -> None:
    made = {named(thing): bare(thing) for thing in helm.objects(SQLITE, *QUEUES)}
    plain = of_k8s("kueue", "admin/admission", "admin/allowed", "admin/priorities", "admin/queues")
    usual = {named(thing) for thing in helm.objects(SQLITE)}
    assert {name: thing for name, thing in made.items() if name not in usual} == plain


def test_the_values_of_the_documentation_are_good_ones(helm: Helm, tmp_path: Path) -> None:
    texts = [each.text for each in snippets(PAGE) if each.options.get("title") == "values.yaml"]
    assert texts
    for text in texts:
        (tmp_path / "values.yaml").write_text(text)
        assert settings_file(helm, tmp_path / "values.yaml", tmp_path).machines


def test_a_bucket_is_let_through_as_the_plain_manifest_does(helm: Helm) -> None:
    made = {named(thing): bare(thing) for thing in helm.objects(POSTGRESQL)}
    plain = of_k8s("storage")
    assert {name: made[name] for name in plain} == plain
    assert not [kind for kind, *_ in made if kind.startswith("PersistentVolume")]


@pytest.mark.parametrize(
    ("bucket", "allowed"),
    [
        ("s3://storage@b/axo", "hub storage"),
        ("s3://storage-{project}@b/{project}", "hub storage-a storage-b"),
        ("s3://b/axo", "hub"),
    ],
)
def test_launches_may_mount_what_opens_their_bucket(helm: Helm, bucket: str, allowed: str) -> None:
    sets = ("training.secrets={hub}", "secrets={storage-a,storage-b,mlflow}", "admin.enabled=true")
    more = (*(f"--set={each}" for each in sets), f"--set-literal=storage.bucket={bucket}")
    (found,) = (each for each in helm.objects(POSTGRESQL, *more) if each["metadata"]["name"] == "axo-allowed")
    assert found["data"]["secrets"] == allowed


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_service_reads_the_settings(helm: Helm, values: Path, tmp_path: Path) -> None:
    read = settings_file(helm, values, tmp_path)
    assert (read.backend, read.access.required) == ("kubernetes", True)
    assert read.kubernetes is not None
    assert read.kubernetes.service_image.endswith("@sha256:" + "1" * 64)
    assert read.kubernetes.trainer_image.endswith("@sha256:" + "2" * 64)
    assert {"axo", "axo.axo", "axo.axo.svc"} <= set(read.access.hosts)


def test_settings_arrive_as_they_were_written(helm: Helm, tmp_path: Path) -> None:
    read = settings_file(helm, EVERYTHING, tmp_path)
    assert (read.room.points_per_run, read.stalls.stop_minutes) == (20_000_000, None)
    assert (read.access.metrics, read.access.hosts[-1]) == ("0.0.0.0:8521", "axo.example")
    assert read.kubernetes is not None
    assert (read.kubernetes.queues, read.kubernetes.secrets) == (("gpus",), ("hub",))
    assert (read.kubernetes.storage_claim, read.kubernetes.job) == ("shared", tmp_path / "job.yaml")


def test_a_change_of_the_settings_starts_the_service_anew(helm: Helm) -> None:
    def mark(*more: str) -> str:
        (deployment,) = (each for each in helm.objects(SQLITE, *more) if each["kind"] == "Deployment")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"])

    assert (
        len({mark(), mark("--set=settings.launches_per_second=3"), mark("--set=training.job.kind=Job")}) == 3
    )
    assert mark() == mark("--set=service.type=NodePort")


def test_a_file_of_sqlite_has_one_writer_and_a_postgresql_several_pods(helm: Helm) -> None:
    def deployment(values: Path) -> Object:
        (found,) = (each for each in helm.objects(values) if each["kind"] == "Deployment")
        return found["spec"]

    one, several = deployment(SQLITE), deployment(POSTGRESQL)
    assert (one["replicas"], one["strategy"]) == (1, {"type": "Recreate"})
    assert (several["replicas"], several["strategy"]["type"]) == (2, "RollingUpdate")
    (migrate,) = several["template"]["spec"]["initContainers"]
    assert migrate["args"] == ["admin", "migrate"]
    assert "AXO_DATABASE" in {each["name"] for each in migrate["env"]}
    assert "PodDisruptionBudget" in {each["kind"] for each in helm.objects(POSTGRESQL)}


def test_a_release_of_another_name_has_names_of_its_own(helm: Helm) -> None:
    made = helm.objects(SQLITE, "--set=training.namespace=team-b", release="team-b")
    (deployment,) = (each for each in made if each["kind"] == "Deployment")
    assert deployment["metadata"]["name"] == "team-b-axo"
    (binding,) = (each for each in made if each["kind"] == "RoleBinding")
    assert binding["subjects"][0]["name"] == deployment["spec"]["template"]["spec"]["serviceAccountName"]
    assert binding["metadata"]["namespace"] == "team-b"


def named(thing: Object) -> tuple[str, str, str]:
    metadata = thing["metadata"]
    return thing["kind"], metadata.get("namespace", ""), metadata["name"]


def bare(thing: Any) -> Any:
    """An object without what a release marks its own by."""
    if isinstance(thing, list):
        return [bare(each) for each in thing]
    if not isinstance(thing, dict):
        return thing
    kept = {key: bare(value) for key, value in thing.items() if not is_of_a_release(key)}
    return {key: value for key, value in kept.items() if key not in ("labels", "annotations") or value}


def is_of_a_release(key: str) -> bool:
    of_helm = ("helm.sh/chart", "helm.sh/resource-policy", "checksum/settings")
    return key in of_helm or key in {
        f"app.kubernetes.io/{mark}" for mark in ("instance", "version", "managed-by", "part-of")
    }


def of_k8s(*files: str) -> dict[tuple[str, str, str], Object]:
    texts = ((ROOT / f"k8s/{file}.yaml").read_text() for file in files)
    things = [thing for text in texts for thing in yaml.safe_load_all(text)]
    return {named(thing): bare(thing) for thing in things}


def settings_of(config: Object) -> Any:
    return yaml.safe_load(config["data"]["settings.yaml"])


def settings_file(helm: Helm, values: Path, folder: Path) -> SettingsFile:
    (config,) = (each for each in helm.objects(values) if each["metadata"]["name"] == "axo-settings")
    (folder / "settings.yaml").write_text(config["data"]["settings.yaml"])
    return read_settings_file(folder / "settings.yaml")
