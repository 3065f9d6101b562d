"""The operator's settings: where things lie, which machines there are, what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args
from urllib.parse import quote

from orchestrator import defaults
from orchestrator.defaults import BackendName, SlowTemplates
from orchestrator.errors import SettingsError
from orchestrator.home import home_of
from orchestrator.machines import GIB, MACHINES, Machine

if TYPE_CHECKING:
    from orchestrator.access_section import AccessSection
    from orchestrator.backend_sections import DockerSection, KubernetesSection


__all__ = ["MACHINES", "Machine", "Settings"]

PROJECT = "{project}"  # stands in the URL of a storage for the name of the project whose it is


@dataclass(frozen=True)
class Settings:
    """What environment and settings file decide; `from_environment` documents each variable.

    `secrets` is the folder of named secrets: the secret `hub` is its folder `hub`, with one file for
    each key (`token`, `AWS_ACCESS_KEY_ID`), as Kubernetes mounts them. `max_file_bytes` bounds one
    uploaded file, `max_project_bytes` all those of a project. The files of temporary runs go
    `temporary_days` after their end, and `warning_days` after a warning. A project's runs, uploads and data
    may take `stored_bytes`, None for any number; `free_bytes` of the service's disks stay free.
    `points_per_run` are kept of a run's metrics at most.
    """

    home: Path
    storage: str
    mlflow_uri: str | None
    trainer_python: Path
    secrets: Path
    machines: Mapping[str, Machine] = field(default_factory=lambda: MACHINES)
    slow_templates: SlowTemplates = defaults.SLOW_TEMPLATES
    backend: BackendName = defaults.BACKEND
    docker: DockerSection | None = None
    access: AccessSection | None = None
    kubernetes: KubernetesSection | None = None
    database: str | None = field(default=None, repr=False)  # may hold a password
    database_connections: int = defaults.DATABASE_CONNECTIONS
    max_file_bytes: int = defaults.FILE_GIB * GIB
    max_project_bytes: int = defaults.FILES_OF_A_PROJECT_GIB * GIB
    launches_per_second: float = defaults.LAUNCHES_PER_SECOND
    temporary_days: float = defaults.TEMPORARY_DAYS
    warning_days: float = defaults.WARNING_DAYS
    stored_bytes: int | None = None
    free_bytes: int = defaults.FREE_GIB * GIB
    points_per_run: int = defaults.POINTS_PER_RUN
    stalled_seconds: float = defaults.STALL_SHOWN_MINUTES * 60
    stalled_stop_seconds: float | None = defaults.STALL_STOPPED_MINUTES * 60
    report_url: str | None = None

    @property
    def database_url(self) -> str:
        """Where the database is: as the operator says, else a file in the home."""
        return self.database or f"sqlite:///{self.home / 'axo.db'}"

    def of(self, project: str) -> Settings:
        """The settings with the storage of a project: one for all, unless its URL says `{project}`."""
        return replace(self, storage=self.storage.replace(PROJECT, project))

    def is_storage(self, url: str) -> bool:
        """Whether that is the storage of some project."""
        parts = map(re.escape, self.storage.split(PROJECT))
        return re.fullmatch("[a-z0-9-]+".join(parts), url) is not None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        - `AXO_HOME`: database, locks, scratch; default `~/.axo`.
        - `AXO_DATABASE`: `postgresql://<user>:<password>@<host>/<database>` or `sqlite:///<path>`; default
          `sqlite:///$AXO_HOME/axo.db`.
        - `AXO_DATABASE_CONNECTIONS`: those that one process holds to a PostgreSQL at most; default 20.
        - `AXO_SETTINGS`: the settings file (settings_file.py); default `$AXO_HOME/settings.yaml`, which
          need not be there.
        - `AXO_BACKEND`: local, docker or kubernetes; default the settings file's `backend`, which is local by
          default.
        - `AXO_SECRETS`: the folder of named secrets; default `$AXO_HOME/secrets`.
        - `AXO_STORAGE`: datasets, models, checkpoints, adapters; default `$AXO_HOME/storage`. A folder, or
          `s3://[<secret>@]<bucket>/<prefix>`, opened by the keys of a named secret or by the environment's.
          `{project}` in it is the name of the project, which so has a storage of its own.
        - `AXO_MLFLOW_URI`, else `MLFLOW_TRACKING_URI`: the tracking server; without one, runs are
          not tracked and publishing to MLflow is refused.
        - `AXO_TRAINER_PYTHON`: the interpreter of the environment that holds Axolotl; default
          `$AXO_CACHE/trainer/bin/python`, where `AXO_CACHE` is `~/.cache/axo` by default.

        Raises:
            SettingsError: the home folder cannot be written, a number is none, MLflow's address is no URL of
                a server, or the named settings file is not there.
            SettingsFileError: the settings file has faults.
        """
        values = os.environ if environment is None else environment
        home = home_of(values)
        cache = Path(values.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
        settings = cls(
            home=_writable(home),
            storage=_storage_url(values.get("AXO_STORAGE") or str(home / "storage")),
            mlflow_uri=_mlflow_uri(values),
            trainer_python=Path(values.get("AXO_TRAINER_PYTHON") or cache / "trainer/bin/python").absolute(),
            secrets=Path(values.get("AXO_SECRETS") or home / "secrets").absolute(),
            database=values.get("AXO_DATABASE") or None,
            database_connections=_count(values, "AXO_DATABASE_CONNECTIONS", cls.database_connections),
        )
        file = Path(values.get("AXO_SETTINGS") or home / "settings.yaml").absolute()
        settings = _with_file(settings, file, required=bool(values.get("AXO_SETTINGS")))
        return _with_backend(settings, values.get("AXO_BACKEND") or settings.backend, file)


def _mlflow_uri(values: Mapping[str, str]) -> str | None:
    """The tracking server, where one is named; MLflow itself would take most words for a folder."""
    name = "AXO_MLFLOW_URI" if values.get("AXO_MLFLOW_URI") else "MLFLOW_TRACKING_URI"
    uri = values.get(name) or None
    if uri is not None and not re.match(r"https?://[^/]", uri):
        raise SettingsError(
            f"{name} is {uri!r}, which is no URL of a server",
            hint="write http://host:port; `mlflow server` starts one",
        )
    return uri


def _with_file(settings: Settings, file: Path, *, required: bool) -> Settings:
    """The settings with those of the file, where there is one."""
    if file.is_file():
        from orchestrator.settings_file import read_settings_file

        found = read_settings_file(file)
        return replace(
            settings,
            machines=found.catalogue,
            slow_templates=found.slow_templates,
            backend=found.backend,
            docker=found.docker,
            max_file_bytes=int(found.uploads.file_gib * GIB),
            max_project_bytes=int(found.uploads.project_gib * GIB),
            launches_per_second=found.launches_per_second,
            temporary_days=found.retention.temporary_days,
            warning_days=found.retention.warning_days,
            stored_bytes=_bytes(found.room.project_gib),
            free_bytes=int(found.room.free_gib * GIB),
            points_per_run=found.room.points_per_run,
            stalled_seconds=found.stalls.shown_minutes * 60,
            stalled_stop_seconds=found.stalls.stop_seconds,
            access=found.access,
            kubernetes=found.kubernetes,
            report_url=found.reports.url if found.reports else None,
        )
    if required:
        hint = "let AXO_SETTINGS name a YAML file, or leave it out"
        raise SettingsError(f"there is no settings file at {file}", hint=hint)
    return settings


def _with_backend(settings: Settings, name: str, file: Path) -> Settings:
    """The settings with a backend chosen, which has what it needs."""
    if name not in get_args(BackendName):
        known = ", ".join(get_args(BackendName))
        raise SettingsError(f"there is no backend called {name!r}", hint=f"set AXO_BACKEND to one of {known}")
    if name != "local" and getattr(settings, name, None) is None:
        raise SettingsError(
            f"the backend {name} is chosen, and nothing says how launches run there",
            hint=f"add a section `{name}:` to {file}",
        )
    _check_reports(settings.report_url, name, file)
    return replace(settings, backend=cast(BackendName, name))


def _check_reports(url: str | None, backend: str, file: Path) -> None:
    """Refuse an address for reports that launches cannot reach."""
    unix = (url or "").startswith("unix:")
    if url and backend == "docker" and not unix:
        raise SettingsError(
            f"containers cannot report to {url}: training has no network",
            hint=f"let `reports.url` in {file} be a socket, such as unix:///run/axo/reports.sock",
        )
    if unix and backend == "kubernetes":
        raise SettingsError(
            f"pods cannot report to {url}: they run on other machines",
            hint=f"let `reports.url` in {file} be the service's address, such as http://axo.axo.svc:8520",
        )


def _count(values: Mapping[str, str], name: str, default: int) -> int:
    """A whole number of at least one."""
    text = values.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"{name} is {text!r}, which is no whole number of at least 1")
    return int(text)


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * GIB)


def _storage_url(place: str) -> str:
    """A URL as it is; a path made absolute, since launches run in folders of their own."""
    if "://" in place:
        return place
    return Path(place).absolute().as_uri().replace(quote(PROJECT), PROJECT)


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
