"""The operator's settings: from the environment and from a file, each fault at its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.access_section import AccessSection
from orchestrator.errors import Fault, SettingsError, SettingsFileError
from orchestrator.settings import Machine, Settings

WHOLE = """
machines:
  a100-4:
    device: gpu
    devices: 4
    gpu: A100-80GB
    memory_gib: 80
    price_per_hour: 12.8
    tokens_per_second: 42000.0
    node_selector: {gpu.example/class: a100}
    sentence: Four GPUs of one node.
  cpu: {device: cpu, memory_gib: 16}
slow_templates: forbid
"""


def settings(home: Path, text: str | None = None, **variables: str) -> Settings:
    if text is not None:
        home.mkdir(exist_ok=True)
        (home / "settings.yaml").write_text(text)
    return Settings.from_environment({"AXO_HOME": str(home), **variables})


def faults(home: Path, text: str) -> list[Fault]:
    with pytest.raises(SettingsFileError) as caught:
        settings(home, text)
    assert caught.value.exit_code == 3
    return list(caught.value.faults)


def test_without_a_file_there_are_the_built_in_machines(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert sorted(found.machines) == ["cpu", "gpu"]
    assert (found.slow_templates, found.secrets) == ("allow", tmp_path / "secrets")


def test_a_file_adds_machines_and_replaces_built_in_ones(tmp_path: Path) -> None:
    found = settings(tmp_path, WHOLE, AXO_SECRETS=str(tmp_path / "elsewhere"))
    assert found.machines["a100-4"] == Machine(
        "a100-4",
        "gpu",
        devices=4,
        gpu="A100-80GB",
        memory_gib=80,
        price_per_hour=12.8,
        tokens_per_second=42_000,
        node_selector={"gpu.example/class": "a100"},
        sentence="Four GPUs of one node.",
    )
    assert found.machines["cpu"].memory_gib == 16
    assert found.machines["gpu"].devices == 1
    assert (found.slow_templates, found.secrets) == ("forbid", tmp_path / "elsewhere")


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "machines: {}\n"])
def test_an_empty_file_settles_nothing(tmp_path: Path, text: str) -> None:
    without = settings(tmp_path)
    found = settings(tmp_path, text)
    assert (found.access, replace(found, access=None)) == (AccessSection(), without)


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no settings file"):
        settings(tmp_path, AXO_SETTINGS=str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("text", "line", "path", "what", "fix"),
    [
        ("machine: {}", 1, "machine", "unknown key", "did you mean `machines`?"),
        (
            "machines:\n  a: {device: gpu, prise_per_hour: 4}",
            2,
            "machines.a.prise_per_hour",
            "unknown key",
            "did you mean `price_per_hour`?",
        ),
        (
            "machines:\n  a: {device: tpu}",
            2,
            "machines.a.device",
            "must be `cpu` or `gpu`",
            "did you mean `gpu`?",
        ),
        ("machines:\n  a: {gpu: A100}", 2, "machines.a.device", "is missing", "add `device:`"),
        ("machines:\n  a: {device: gpu, devices: 0}", 2, "machines.a.devices", "must be 1 or more", None),
        ("machines:\n  A 1: {device: gpu}", 2, "machines.A 1", "must be lower case letters", "write `a-1`"),
        ("machines:\n  a: {device: cpu, gpu: A100}", 2, "machines.a.gpu", "has no gpu", "set device: gpu"),
        ("slow_templates: no", 1, "slow_templates", "must be `allow` or `forbid`", None),
        ("machines: [\n", 2, None, "this is not YAML", "brackets"),
        ("- cpu", 1, None, "must be a section", None),
    ],
)
def test_a_fault_has_its_line_and_fix(
    tmp_path: Path, text: str, line: int, path: str | None, what: str, fix: str | None
) -> None:
    (fault,) = faults(tmp_path, text)
    assert (fault.line, fault.path) == (line, path)
    assert what in fault.what
    assert (fault.fix is None) if fix is None else (fix in (fault.fix or ""))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = "machines:\n  a: {device: gpu, price_per_hour: -1}\n  b: {devices: many, device: gpu}\nslow: 1\n"
    assert [fault.line for fault in faults(tmp_path, text)] == [2, 3, 4]


def test_a_backend_is_chosen_by_the_file_and_before_it_by_the_environment(tmp_path: Path) -> None:
    docker = "docker: {service_image: service, trainer_image: trainer}\n"
    assert settings(tmp_path / "a").backend == "local"
    chosen = settings(tmp_path / "b", f"backend: docker\n{docker}")
    assert chosen.backend == "docker"
    assert chosen.docker is not None
    assert (chosen.docker.trainer_image, chosen.docker.network) == ("trainer", "bridge")
    assert settings(tmp_path / "b", AXO_BACKEND="local").backend == "local"
    assert settings(tmp_path / "c", docker, AXO_BACKEND="docker").backend == "docker"


def test_a_backend_needs_a_name_there_is_and_its_section(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no backend called 'dokcer'"):
        settings(tmp_path, AXO_BACKEND="dokcer")
    with pytest.raises(SettingsError, match="nothing says how") as caught:
        settings(tmp_path, "backend: docker")
    assert str(tmp_path / "settings.yaml") in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("backend", "url", "fault"),
    [
        ("docker", "http://127.0.0.1:8520", "containers cannot report"),
        ("kubernetes", "unix:///run/axo/reports.sock", "pods cannot report"),
    ],
)
def test_an_address_for_reports_must_be_one_that_launches_reach(
    tmp_path: Path, backend: str, url: str, fault: str
) -> None:
    sections = (
        "docker: {service_image: a, trainer_image: b}\n"
        "kubernetes: {namespace: n, service_image: a, trainer_image: b, storage_claim: c}\n"
    )
    with pytest.raises(SettingsError, match=fault) as refused:
        settings(tmp_path / "a", f"{sections}backend: {backend}\nreports: {{url: '{url}'}}\n")
    assert "reports.url" in (refused.value.hint or "")
    chosen = settings(tmp_path / "b", f"reports: {{url: '{url}'}}\n")
    assert chosen.report_url == url


def test_the_settings_file_of_the_guide_to_kubernetes_can_be_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/kubernetes.md").read_text()
    (tmp_path / "settings.yaml").write_text(guide.split('```yaml title="settings.yaml"\n')[1].split("```")[0])
    found = Settings.from_environment({"AXO_HOME": str(tmp_path)})
    assert found.kubernetes is not None
    assert (found.kubernetes.secrets, found.kubernetes.queues) == (("hub",), ("gpus",))
    assert found.machines["a100-4"].priority in found.kubernetes.priorities


@pytest.mark.parametrize("place", ["s3://keys-{project}@acme/{project}", "{folder}/of {project}"])
def test_a_project_has_a_storage_of_its_own_where_the_url_says_so(tmp_path: Path, place: str) -> None:
    of_all = settings(tmp_path / "home", AXO_STORAGE=place.replace("{folder}", str(tmp_path)))
    ours, theirs = (of_all.of(project).storage for project in ("team-a", "team-b"))
    assert ours != theirs
    assert ours.count("team-a") == place.count("{project}")
    assert of_all.is_storage(ours)
    assert of_all.is_storage(theirs)
    assert not of_all.is_storage(ours + "/deeper")
    assert not of_all.is_storage(ours.replace("team-a", "team/a"))


def test_one_storage_is_every_projects(tmp_path: Path) -> None:
    of_all = settings(tmp_path / "home", AXO_STORAGE="s3://acme/axo")
    assert of_all.of("team-a") == of_all
    assert of_all.is_storage("s3://acme/axo")
    assert not of_all.is_storage("s3://acme/axe")


@pytest.mark.parametrize("name", ["AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI"])
@pytest.mark.parametrize("uri", ["mlflow", "localhost:5000", "sqlite:///m.db", "http://"])
def test_what_is_no_server_of_mlflow_is_refused(tmp_path: Path, name: str, uri: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{uri}', which is no URL of a server"):
        Settings.from_environment({"AXO_HOME": str(tmp_path), name: uri})
