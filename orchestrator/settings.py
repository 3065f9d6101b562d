"""The operator's settings: where things lie, and which machines there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from orchestrator.errors import SettingsError


@dataclass(frozen=True)
class Machine:
    """An entry of the catalogue: what a launch gets when a spec names it."""

    name: str
    device: Literal["cpu", "gpu"]
    gpus: int = 0
    sentence: str = ""


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("cpu", "cpu", sentence="The processor of this machine, 32-bit floats."),
        Machine("gpu", "gpu", 1, sentence="One GPU of this machine, bfloat16."),
    )
}


@dataclass(frozen=True)
class Settings:
    """What the environment decides; `from_environment` documents each variable."""

    home: Path
    storage: str
    mlflow_uri: str | None
    trainer_python: Path
    machines: Mapping[str, Machine] = field(default_factory=lambda: MACHINES)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        - `AXO_HOME`: database, locks, scratch; default `~/.axo`.
        - `AXO_STORAGE`: datasets, models, checkpoints, adapters; default `$AXO_HOME/storage`.
        - `AXO_MLFLOW_URI`, else `MLFLOW_TRACKING_URI`: the tracking server; without one, runs are
          not tracked and publishing to MLflow is refused.
        - `AXO_TRAINER_PYTHON`: the interpreter of the environment that holds Axolotl; default
          `$AXO_CACHE/trainer/bin/python`, where `AXO_CACHE` is `~/.cache/axo` by default.

        Raises:
            SettingsError: the home folder cannot be written.
        """
        values = os.environ if environment is None else environment
        home = Path(values.get("AXO_HOME") or Path.home() / ".axo").absolute()
        cache = Path(values.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
        return cls(
            home=_writable(home),
            storage=_storage_url(values.get("AXO_STORAGE") or str(home / "storage")),
            mlflow_uri=values.get("AXO_MLFLOW_URI") or values.get("MLFLOW_TRACKING_URI") or None,
            trainer_python=Path(values.get("AXO_TRAINER_PYTHON") or cache / "trainer/bin/python").absolute(),
        )


def _storage_url(place: str) -> str:
    """A URL as it is; a path made absolute, since launches run in folders of their own."""
    return place if "://" in place else Path(place).absolute().as_uri()


def _writable(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{home} cannot be made: {error.strerror}", hint="set AXO_HOME to a folder you can write"
        ) from error
    if not os.access(home, os.W_OK):
        raise SettingsError(f"{home} is not writable", hint="set AXO_HOME to a folder you can write")
    return home
