"""Its place puts this folder on the import path: tests share the modules that lie beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from databases import Postgres, make_database
from helm import Helm, helm_of_this_machine
from postgres_container import postgres_container
from postgres_server import postgres_server
from s3_server import NoServer, S3Server, s3_server

from orchestrator import mlflow_server
from orchestrator.db import opened

ROOT = Path(__file__).parents[1]

pytest.register_assert_rewrite("backend_promises")


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a Docker engine: the one that DOCKER_HOST names, or one of this machine's own."""
    if named := os.environ.get("DOCKER_HOST"):
        yield named
        return
    script = ROOT / "scripts/engine"
    ran_before = subprocess.run([script, "status"], capture_output=True).returncode == 0
    started = subprocess.run([script, "up"], capture_output=True, text=True)
    if started.returncode:
        reason = f"no Docker engine to test on: {started.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    yield started.stdout.strip()
    if not ran_before:
        subprocess.run([script, "down"], check=True)


@pytest.fixture(scope="session")
def helm() -> Helm:
    return helm_of_this_machine()


@pytest.fixture(scope="session")
def object_storage() -> Iterator[S3Server]:
    """A real server that speaks S3."""
    try:
        with s3_server() as server:
            yield server
    except NoServer as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@pytest.fixture
def bucket(object_storage: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, which this process and those that it starts have the keys of."""
    for name, value in object_storage.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"axo-{uuid4().hex[:12]}"
    object_storage.make_bucket(bucket)
    return bucket


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL for the whole session, whose database `template` is of today's schema."""
    image = os.environ.get("AXO_TEST_POSTGRES_IMAGE")
    with (
        postgres_container(image, request.getfixturevalue("engine"))
        if image
        else postgres_server(durable=False)
    ) as server:
        with opened(make_database(server, "template", "template0")):
            pass
        yield server


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's MLflow server keeps its database, artifacts and log."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_url(mlflow_folder: Path) -> Iterator[str]:
    """A real MLflow server, one for the whole session."""
    yield mlflow_server.start(mlflow_folder).url
    mlflow_server.stop(mlflow_folder)


@pytest.fixture(scope="session")
def trainer_python() -> str:
    """The Python of the environment that has Axolotl."""
    default = Path.home() / ".cache/axo/trainer/bin/python"
    python = os.environ.get("AXO_TRAINER_PYTHON", str(default))
    if not Path(python).exists():
        message = f"no trainer environment at {python}: make it with scripts/test, or set AXO_TRAINER_PYTHON"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return python


@pytest.fixture(scope="session")
def tiny_model(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    command = [trainer_python, str(ROOT / "scripts/tiny_model.py"), str(folder), "--quick"]
    subprocess.run(command, check=True, capture_output=True)
    return folder
