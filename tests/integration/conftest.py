"""Real parts that integration tests share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import mlflow_server

ROOT = Path(__file__).parents[2]


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
