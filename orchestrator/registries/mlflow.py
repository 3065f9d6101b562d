"""MLflow's model registry: adapter files as artifacts of the run, a version, an alias."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator import mlflow_client
from orchestrator.contract import File, content_digest, hash_file
from orchestrator.errors import NotFoundError, RegistryError
from orchestrator.mlflow_client import Artifacts
from orchestrator.registries import Package, Published, RegistryAway, allowed_files

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

RECEIPT = "PUBLISHED.json"
DIGEST_TAG = "axo.digest"
RUN_TAG = "axo.run_id"
PACKAGE_TAG = "axo.package_digest"
DESCRIPTION_CHARACTERS = 5000  # of the column: mlflow/store/model_registry/dbmodels/models.py
TAG_CHARACTERS = 5000


@dataclass(frozen=True)
class MlflowRegistry:
    """The registered model `model` of the server at `uri`, for adapters of one MLflow run.

    The files lie under `adapter/<digest of all of them>` of the run's artifacts, so other content
    never replaces them; `PUBLISHED.json`, written last, makes the folder whole. The version keeps
    that digest too: a change of a file together with `PUBLISHED.json` is still found. A version that
    was tampered with stays as it is, and another is made.
    """

    uri: str
    model: str
    alias: str | None
    mlflow_run: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", mlflow_client.checked_uri(self.uri, RegistryError))

    def check(self) -> None:
        """Whether the server answers and lets us in."""
        with self._translated():
            self._client.search_registered_models(max_results=1)

    def push(self, package: Package) -> Published:
        """Publish, once per digest and run; a version that is there and true only gets its alias.

        Raises:
            FileNotAllowed: the folder holds a file that may not leave.
            RegistryAway: the server cannot be reached.
            RegistryError: it refuses, or does not hold what was sent.
        """
        files = [hash_file(package.folder / name, name) for name in allowed_files(package.folder)]
        with self._translated():
            made = self._versions(package)
            version = next((each for each in made if not self._faults(each)), None)
            if version is None:
                folder = self._upload(package, files, len(made))
                self._ensure_model()
                version = self._create_version(package, folder, content_digest(files))
            if self.alias is not None:
                self._client.set_registered_model_alias(self.model, self.alias, version.version)
        return self._published(str(version.version), package.digest)

    def verify(self, published: Published) -> list[str]:
        """What is untrue of a published version: every file is read back and compared by SHA-256."""
        with self._translated():
            version = self._version(published)
            if version is None:
                return [f"{published.reference} was deleted"]
            if version.tags.get(DIGEST_TAG) == published.digest:
                return self._faults(version)
            return [_other_adapter(published), *self._faults(version)]

    @property
    def _client(self) -> MlflowClient:
        return mlflow_client.open_client(self.uri)

    def _translated(self) -> AbstractContextManager[None]:
        return mlflow_client.translated(self.uri, away=RegistryAway, refused=RegistryError)

    def _version(self, published: Published) -> ModelVersion | None:
        try:
            return self._client.get_model_version(self.model, published.version)
        except Exception as error:
            if not mlflow_client.was_refused_as(error, "RESOURCE_DOES_NOT_EXIST"):
                raise
            return None

    def _versions(self, package: Package) -> list[ModelVersion]:
        """The versions that earlier pushes of this content made, the oldest first."""
        ours = [
            found
            for found in self._client.search_model_versions(f"run_id = '{self.mlflow_run}'")
            if (found.name, found.tags.get(DIGEST_TAG)) == (self.model, package.digest)
        ]
        return sorted(ours, key=lambda found: int(found.version))

    def _faults(self, version: ModelVersion) -> list[str]:
        """What is untrue of the files of a version."""
        artifacts = mlflow_client.open_artifacts(self.uri, version.run_id)
        folder = version.source.removeprefix(f"runs:/{version.run_id}/")
        if RECEIPT not in mlflow_client.files_below(artifacts, folder):
            return [f"{RECEIPT} is missing"]
        files, faults = _read_receipt(artifacts, folder), []
        if content_digest(files) != version.tags.get(PACKAGE_TAG):
            faults.append(f"{RECEIPT} names other files than the version was made with")
        return faults + _untrue(artifacts, folder, files)

    def _upload(self, package: Package, files: Sequence[File], untrue: int) -> str:
        """Put the files under the run, beside those of `untrue` versions, read them back, and write the
        receipt last."""
        artifacts = mlflow_client.open_artifacts(self.uri, self.mlflow_run)
        folder = f"adapter/{content_digest(files)[:16]}" + (f"-{untrue + 1}" if untrue else "")
        for file in files:
            _put(artifacts, package.folder / file.path, f"{folder}/{file.path}")
        if faults := _untrue(artifacts, folder, files):
            raise RegistryError(f"MLflow does not hold what was sent: {faults[0]}", hint="publish again")
        with tempfile.TemporaryDirectory(prefix="axo-mlflow-") as scratch:
            receipt = Path(scratch) / RECEIPT
            receipt.write_bytes(_receipt(package, files))
            _put(artifacts, receipt, f"{folder}/{RECEIPT}")
        return folder

    def _ensure_model(self) -> None:
        try:
            self._client.create_registered_model(self.model)
        except Exception as error:
            if not mlflow_client.was_refused_as(error, "RESOURCE_ALREADY_EXISTS"):
                raise

    def _create_version(self, package: Package, folder: str, package_digest: str) -> ModelVersion:
        ours = {DIGEST_TAG: package.digest, RUN_TAG: package.run_id, PACKAGE_TAG: package_digest}
        return self._client.create_model_version(
            self.model,
            source=f"runs:/{self.mlflow_run}/{folder}",
            run_id=self.mlflow_run,
            tags={key: value[:TAG_CHARACTERS] for key, value in package.tags.items()} | ours,
            description=_description(package),
            await_creation_for=None,
        )

    def _published(self, version: str, digest: str) -> Published:
        server, model = mlflow_client.public_uri(self.uri), quote(self.model, safe="")
        page = f"{server}/#/models/{model}/versions/{version}"
        return Published("mlflow", f"models:/{self.model}/{version}", version, page, digest)


@dataclass(frozen=True)
class FetchedVersion:
    """A published version as it arrived: what it is called, and the digest of the adapter in it."""

    reference: str
    digest: str
    files: Sequence[File]


def parse_reference(reference: str) -> tuple[str, str, bool]:
    """Model, version or alias, and whether it is an alias, of `models:/name/3` or `models:/name@alias`.

    Raises:
        NotFoundError: it is neither.
    """
    match = re.fullmatch(r"models:/(?P<model>[^/@]+)(?P<mark>[/@])(?P<which>[^/@]+)", reference)
    if match is None or (match["mark"] == "/" and not match["which"].isdigit()):
        hint = "such as models:/support-triage@candidate or models:/support-triage/3"
        raise NotFoundError(f"{reference} names no version of a registered model", hint=hint)
    return match["model"], match["which"], match["mark"] == "@"


def fetch_version(uri: str, reference: str, folder: Path) -> FetchedVersion:
    """Fetch a version that `push` made into `folder`, every file compared with its receipt.

    Raises:
        RegistryAway: the server cannot be reached.
        NotFoundError: there is no such version.
        RegistryError: axo did not publish it, or it is not whole.
    """
    model, which, is_alias = parse_reference(reference)
    uri = mlflow_client.checked_uri(uri, RegistryError)
    with mlflow_client.translated(uri, away=RegistryAway, refused=RegistryError):
        client = mlflow_client.open_client(uri)
        version = _named_version(client, model, which, is_alias)
        named = f"models:/{model}/{version.version}"
        if PACKAGE_TAG not in version.tags:
            raise RegistryError(f"{named} was not published by axo", hint="fetch it with MLflow's own client")
        artifacts = mlflow_client.open_artifacts(uri, version.run_id)
        prefix = version.source.removeprefix(f"runs:/{version.run_id}/")
        files = _read_receipt(artifacts, prefix)
        if content_digest(files) != version.tags[PACKAGE_TAG]:
            raise RegistryError(f"the receipt of {named} is not the one it was published with")
        for file in files:
            _fetch_file(artifacts, prefix, file, folder)
    return FetchedVersion(named, version.tags[DIGEST_TAG], files)


def _named_version(client: MlflowClient, model: str, which: str, is_alias: bool) -> ModelVersion:
    find = client.get_model_version_by_alias if is_alias else client.get_model_version
    try:
        return find(model, which)
    except Exception as error:
        missing = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter for an alias
        if not any(mlflow_client.was_refused_as(error, code) for code in missing):
            raise
        named = f"{'alias' if is_alias else 'version'} {which!r}"
        raise NotFoundError(f"MLflow has no {named} of a model {model!r}") from error


def _fetch_file(artifacts: Artifacts, prefix: str, file: File, folder: Path) -> None:
    """One file of a version, under `folder` and nowhere else."""
    target = (folder / file.path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise RegistryError(f"the receipt names a file outside its folder: {file.path}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if _fetched(artifacts, f"{prefix}/{file.path}", target, file.size) != (file.size, file.sha256):
        raise RegistryError(f"{file.path} has other content than was published")


def _put(artifacts: Artifacts, file: Path, path: str) -> None:
    mlflow_client.upload(artifacts, file, path.rpartition("/")[0])


def _receipt(package: Package, files: Sequence[File]) -> bytes:
    content = {"digest": package.digest, "run_id": package.run_id, "files": [asdict(file) for file in files]}
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def _read_receipt(artifacts: Artifacts, folder: str) -> list[File]:
    """The files that a receipt names; none where it is no receipt any more."""
    with tempfile.TemporaryDirectory(prefix="axo-mlflow-") as scratch:
        target = Path(scratch) / RECEIPT
        mlflow_client.download(artifacts, f"{folder}/{RECEIPT}", target)
        try:
            return [File(**entry) for entry in json.loads(target.read_bytes())["files"]]
        except (ValueError, KeyError, TypeError):
            return []


def _untrue(artifacts: Artifacts, folder: str, files: Sequence[File]) -> list[str]:
    """Files that are missing, that nobody published, or whose bytes are others."""
    there = mlflow_client.files_below(artifacts, folder)
    named = {file.path for file in files}
    faults = [f"{name} was never published" for name in sorted(there) if name not in named | {RECEIPT}]
    with tempfile.TemporaryDirectory(prefix="axo-mlflow-") as scratch:
        target = Path(scratch) / "file"
        for file in files:
            if file.path not in there:
                faults.append(f"{file.path} is missing")
            elif _fetched(artifacts, f"{folder}/{file.path}", target, file.size) != (file.size, file.sha256):
                faults.append(f"{file.path} has other content than was published")
    return faults


def _fetched(artifacts: Artifacts, path: str, target: Path, size: int) -> tuple[int, str]:
    found = mlflow_client.download(artifacts, path, target, size)
    return found.size, found.sha256


def _other_adapter(published: Published) -> str:
    return f"{published.reference} is not marked with the digest {published.digest}"


def _description(package: Package) -> str:
    """The card's text without its front matter, as far as the column holds it."""
    card = package.folder / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    text = text.strip()
    if len(text) <= DESCRIPTION_CHARACTERS:
        return text
    more = "\n\n(The whole card is the README.md among the files.)"
    return text[: DESCRIPTION_CHARACTERS - len(more)] + more
