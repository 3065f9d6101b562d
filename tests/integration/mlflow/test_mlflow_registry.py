"""What the registry holds of an adapter: published once, readable by anyone, and proven by its bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator import mlflow_client
from orchestrator.client.pull import pull_version
from orchestrator.contract import content_digest, hash_file
from orchestrator.errors import NotFoundError, RegistryError
from orchestrator.registries import FileNotAllowed, Package
from orchestrator.registries.mlflow import MlflowRegistry, fetch_version
from orchestrator.settings import Settings
from orchestrator.tracking import Tracker

CARD = "---\nlicense: apache-2.0\n---\n\n# Triage\n\nRoutes tickets.\n"
FILES = {
    "adapter_model.safetensors": b"\x00\xff" * 200_000,
    "adapter_config.json": b'{"r": 16}\n',
    "chat_template.jinja": b"{{ messages }}",
    "tokenizer/vocab.txt": b"a\nb\n",
    "provenance.json": b"{}\n",
    "README.md": CARD.encode(),
}


class Cut(Exception):
    """Stands for the end of our process."""


@pytest.fixture
def model() -> str:
    return f"triage's model {uuid.uuid4().hex[:8]}"


@pytest.fixture
def mlflow_run(mlflow_url: str) -> str:
    return Tracker(mlflow_url).ensure_run(uuid.uuid4().hex, "triage", "publish", {}, 1000).mlflow_run_id


@pytest.fixture
def registry(mlflow_url: str, model: str, mlflow_run: str) -> MlflowRegistry:
    return MlflowRegistry(mlflow_url, model, "candidate", mlflow_run)


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return make_package(tmp_path / "package")


def make_package(folder: Path, files: dict[str, bytes] = FILES) -> Package:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    digest = content_digest(hash_file(folder / name, name) for name in files if name != "README.md")
    return Package(folder, digest, "support-triage", "run-1", {"axo.base_model": "Qwen/Qwen3-0.6B"})


def versions(registry: MlflowRegistry) -> list[str]:
    found = mlflow_client.open_client(registry.uri).search_model_versions(f"run_id = '{registry.mlflow_run}'")
    return sorted(version.version for version in found if version.name == registry.model)


def fetch(reference: str, uri: str, target: Path) -> str:
    """What a user's `mlflow artifacts download` does, in an interpreter of its own."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "mlflow", "artifacts", "download", "-u", reference, "-d", str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def published_folder(mlflow_folder: Path, mlflow_run: str) -> Path:
    (found,) = (mlflow_folder / "artifacts").glob(f"*/{mlflow_run}/artifacts/adapter/*")
    return found


def tamper(mlflow_folder: Path, registry: MlflowRegistry) -> Path:
    """The folder of what was published, of whose weights one byte is another now."""
    folder = published_folder(mlflow_folder, registry.mlflow_run)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(b"\x01" + weights.read_bytes()[1:])
    return folder


@pytest.mark.parametrize("which", ["@candidate", "/1"])
def test_a_version_is_pulled_whole_and_compared_with_its_receipt(
    registry: MlflowRegistry, package: Package, tmp_path: Path, which: str
) -> None:
    registry.push(package)
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path / "home"), "AXO_MLFLOW_URI": registry.uri})
    pulled = pull_version(settings, f"models:/{registry.model}{which}", tmp_path / "pulled")
    assert (pulled.reference, pulled.digest) == (f"models:/{registry.model}/1", package.digest)
    for name, content in FILES.items():
        assert (tmp_path / "pulled" / name).read_bytes() == content
    assert "--max-lora-rank 16" in pulled.command[0]


def test_a_version_whose_bytes_are_others_is_not_pulled(
    registry: MlflowRegistry, package: Package, mlflow_folder: Path, tmp_path: Path
) -> None:
    registry.push(package)
    file = published_folder(mlflow_folder, registry.mlflow_run) / "adapter_model.safetensors"
    file.write_bytes(b"other")
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path / "home"), "AXO_MLFLOW_URI": registry.uri})
    with pytest.raises(RegistryError, match="other content than was published"):
        pull_version(settings, f"models:/{registry.model}/1", tmp_path / "pulled")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "package"]


@pytest.mark.parametrize("which", ["@gone", "/7"])
def test_a_version_that_is_not_there_is_not_found(
    registry: MlflowRegistry, package: Package, tmp_path: Path, which: str
) -> None:
    registry.push(package)
    with pytest.raises(NotFoundError, match="MLflow has no"):
        fetch_version(registry.uri, f"models:/{registry.model}{which}", tmp_path)


def test_a_published_adapter_can_be_fetched_by_its_alias(
    registry: MlflowRegistry, package: Package, tmp_path: Path
) -> None:
    published = registry.push(package)
    assert (published.registry, published.version, published.digest) == ("mlflow", "1", package.digest)
    assert published.reference == f"models:/{registry.model}/1"
    assert published.url == f"{registry.uri}/#/models/{quote(registry.model)}/versions/1"
    assert registry.verify(published) == []

    version = mlflow_client.open_client(registry.uri).get_model_version_by_alias(registry.model, "candidate")
    assert (version.version, version.run_id) == ("1", registry.mlflow_run)
    assert version.description == "# Triage\n\nRoutes tickets."
    assert version.tags["axo.base_model"] == "Qwen/Qwen3-0.6B"
    assert version.tags["axo.digest"] == package.digest
    assert version.tags["axo.run_id"] == "run-1"

    fetched = Path(fetch(f"models:/{registry.model}@candidate", registry.uri, tmp_path))
    assert {name: (fetched / name).read_bytes() for name in FILES} == FILES
    receipt = json.loads((fetched / "PUBLISHED.json").read_bytes())
    assert receipt["digest"] == package.digest
    assert {entry["path"] for entry in receipt["files"]} == set(FILES)


def test_the_same_digest_of_the_same_run_is_published_once(
    registry: MlflowRegistry, package: Package
) -> None:
    assert registry.push(package) == registry.push(package)
    assert versions(registry) == ["1"]


def test_another_digest_and_another_run_are_versions_of_their_own(
    registry: MlflowRegistry, package: Package, tmp_path: Path, mlflow_url: str
) -> None:
    first = registry.push(package)
    other_content = make_package(tmp_path / "other", FILES | {"adapter_config.json": b'{"r": 8}\n'})
    second = registry.push(other_content)
    other_run = Tracker(mlflow_url).ensure_run(uuid.uuid4().hex, "triage", "publish", {}, 1000).mlflow_run_id
    third_registry = MlflowRegistry(registry.uri, registry.model, "candidate", other_run)
    third = third_registry.push(package)
    assert [first.version, second.version, third.version] == ["1", "2", "3"]
    assert [registry.verify(first), registry.verify(second), third_registry.verify(third)] == [[], [], []]


def test_two_models_of_one_run_hold_the_same(registry: MlflowRegistry, package: Package) -> None:
    other = MlflowRegistry(registry.uri, f"{registry.model} too", None, registry.mlflow_run)
    first, second = registry.push(package), other.push(package)
    assert registry.verify(first) == other.verify(second) == []


@pytest.mark.parametrize("last_words", ["_ensure_model", "_create_version", "_published"])
def test_a_push_cut_off_anywhere_is_finished_by_the_next(
    registry: MlflowRegistry, package: Package, monkeypatch: pytest.MonkeyPatch, last_words: str
) -> None:
    def cut(*_: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(MlflowRegistry, last_words, cut)
        with pytest.raises(Cut):
            registry.push(package)
    published = registry.push(package)
    assert versions(registry) == ["1"]
    assert registry.verify(published) == []


def test_an_alias_is_set_on_a_version_that_lacks_it(registry: MlflowRegistry, package: Package) -> None:
    MlflowRegistry(registry.uri, registry.model, None, registry.mlflow_run).push(package)
    client = mlflow_client.open_client(registry.uri)
    assert client.get_registered_model(registry.model).aliases == {}
    registry.push(package)
    assert client.get_registered_model(registry.model).aliases == {"candidate": "1"}


def test_a_damaged_upload_never_becomes_a_version(
    registry: MlflowRegistry, package: Package, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload = mlflow_client.upload

    def damage(artifacts: mlflow_client.Artifacts, file: Path, folder: str | None) -> None:
        if file.name == "adapter_config.json":
            (tmp_path / "damaged").mkdir(exist_ok=True)
            file = Path(tmp_path / "damaged" / file.name)
            file.write_bytes(b'{"r": 17}\n')
        upload(artifacts, file, folder)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_client, "upload", damage)
        with pytest.raises(RegistryError, match=r"adapter_config\.json has other content"):
            registry.push(package)
    assert versions(registry) == []
    assert registry.verify(registry.push(package)) == []


def test_tampering_with_a_file_is_found(
    registry: MlflowRegistry, package: Package, mlflow_folder: Path
) -> None:
    published = registry.push(package)
    tamper(mlflow_folder, registry)
    assert registry.verify(published) == ["adapter_model.safetensors has other content than was published"]


def test_what_was_tampered_with_is_published_anew_and_stays_as_it_is(
    registry: MlflowRegistry, package: Package, mlflow_folder: Path
) -> None:
    first = registry.push(package)
    folder = tamper(mlflow_folder, registry)
    (folder / "extra.bin").write_bytes(b"x")
    second = registry.push(package)
    assert registry.push(package) == second
    assert registry.verify(second) == []
    assert registry.verify(first) == [
        "extra.bin was never published",
        "adapter_model.safetensors has other content than was published",
    ]
    client = mlflow_client.open_client(registry.uri)
    assert client.get_registered_model(registry.model).aliases == {"candidate": second.version}
    assert versions(registry) == [first.version, second.version]


def test_tampering_with_a_file_and_the_receipt_is_found(
    registry: MlflowRegistry, package: Package, mlflow_folder: Path
) -> None:
    published = registry.push(package)
    folder = published_folder(mlflow_folder, registry.mlflow_run)
    (folder / "README.md").write_bytes(b"# Other\n")
    receipt = json.loads((folder / "PUBLISHED.json").read_bytes())
    for entry in receipt["files"]:
        file = hash_file(folder / entry["path"], entry["path"])
        entry |= {"size": file.size, "sha256": file.sha256}
    (folder / "PUBLISHED.json").write_text(json.dumps(receipt))
    assert registry.verify(published) == ["PUBLISHED.json names other files than the version was made with"]


def test_files_that_vanish_or_appear_are_found(
    registry: MlflowRegistry, package: Package, mlflow_folder: Path
) -> None:
    published = registry.push(package)
    folder = published_folder(mlflow_folder, registry.mlflow_run)
    (folder / "tokenizer" / "vocab.txt").unlink()
    (folder / "extra.bin").write_bytes(b"x")
    assert registry.verify(published) == ["extra.bin was never published", "tokenizer/vocab.txt is missing"]
    (folder / "PUBLISHED.json").write_bytes(b"not JSON")
    assert "PUBLISHED.json names other files than the version was made with" in registry.verify(published)
    (folder / "PUBLISHED.json").unlink()
    assert registry.verify(published) == ["PUBLISHED.json is missing"]


def test_another_digest_than_the_one_published_is_found(registry: MlflowRegistry, package: Package) -> None:
    published = registry.push(package)
    claimed = type(published)(**{**vars(published), "digest": "0" * 64})
    assert registry.verify(claimed) == [f"{published.reference} is not marked with the digest {'0' * 64}"]


def test_a_version_that_was_deleted_is_told(registry: MlflowRegistry, package: Package) -> None:
    published = registry.push(package)
    mlflow_client.open_client(registry.uri).delete_model_version(registry.model, published.version)
    assert registry.verify(published) == [f"{published.reference} was deleted"]
    assert registry.verify(registry.push(package)) == []


def test_what_may_not_leave_is_refused_before_anything_is_sent(
    registry: MlflowRegistry, package: Package
) -> None:
    (package.folder / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(FileNotAllowed, match=r"optimizer\.pt"):
        registry.push(package)
    assert versions(registry) == []
    artifacts = mlflow_client.open_artifacts(registry.uri, registry.mlflow_run)
    assert mlflow_client.files_below(artifacts, "adapter") == {}


def test_a_long_card_is_cut_to_what_the_column_holds(registry: MlflowRegistry, tmp_path: Path) -> None:
    long = make_package(tmp_path / "long", FILES | {"README.md": b"# T\n\n" + b"word " * 3000})
    published = registry.push(long)
    version = mlflow_client.open_client(registry.uri).get_model_version(registry.model, published.version)
    assert len(version.description) == 5000
    assert version.description.endswith("README.md among the files.)")
    assert registry.verify(published) == []


def test_check_passes_where_the_server_answers(registry: MlflowRegistry) -> None:
    registry.check()
