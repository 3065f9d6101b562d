"""The checks of `axo doctor`: each looks at one thing a run needs, and tells how it stands."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from orchestrator import __version__, contract
from orchestrator.axolotl.schema import AXOLOTL_VERSION
from orchestrator.backends import BackendAway, BackendFull, LaunchRequest, open_backend
from orchestrator.cli.connection import connected, spoken_to
from orchestrator.cli.hardware import gpus
from orchestrator.client.contexts import Context
from orchestrator.errors import BackendError, DatabaseError, OrchestratorError, SettingsError
from orchestrator.machines import GIB, Machine
from orchestrator.settings import Settings

State = Literal["ok", "warn", "fail"]

OLDEST_PYTHON = (3, 11)
_LITTLE_GIB, _ROOM_GIB = 2, 20  # a run of a small model; of one of some billion parameters
_LIBRARIES = ("polars", "pydantic", "sqlalchemy", "mlflow-skinny", "tokenizers")
_ASK = (
    "import json; from importlib import metadata as m; "
    "print(json.dumps({name: m.version(name) for name in ('axolotl', 'torch', 'transformers')}))"
)


@dataclass(frozen=True)
class Finding:
    """One line; `away` where a server or storage is what fails."""

    about: str
    state: State
    told: str
    fix: str | None = None
    away: bool = False


def checkup() -> Iterator[Finding]:
    """Every check, in the order in which a run needs what they look at. Where a service elsewhere has the
    runs, what they need is on its machine, and this one needs the service."""
    yield _axo()
    yield _python()
    yield _libraries()
    if (context := spoken_to()).url is not None:
        yield _service(context)
        return
    try:
        settings = Settings.from_environment()
    except OrchestratorError as error:
        yield Finding("settings", "fail", str(error), error.hint)
        yield _gpus()
        return
    yield _settings(settings)
    yield _disk(settings)
    yield _storage(settings)
    yield _database(settings)
    yield _secrets(settings.secrets)
    if settings.backend == "local":
        yield _trainer(settings.trainer_python)
    else:
        yield _launches(settings)
    yield _gpus()
    yield _mlflow(settings)


def _axo() -> Finding:
    return Finding("axo", "ok", f"{__version__}, for Axolotl {AXOLOTL_VERSION}")


def _python() -> Finding:
    told = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "fail", told, f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Finding("python", "ok", told)


def _libraries() -> Finding:
    found: dict[str, str | None] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    told = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    if None in found.values():
        return Finding("libraries", "fail", told, "install axo-orchestrator again, with its dependencies")
    return Finding("libraries", "ok", told)


def _service(context: Context) -> Finding:
    """Whether the service answers, and takes the credential of its context."""
    try:
        with connected() as client:
            machines = ", ".join(machine.name for machine in client.machines())
    except OrchestratorError as error:
        return Finding("service", "fail", str(error), error.hint, away=True)
    told = f"{context.url} answers, and takes the credential of the context {context.name}"
    return Finding("service", "ok", f"{told}; machines {machines}")


def _settings(settings: Settings) -> Finding:
    machines = ", ".join(settings.machines)
    return Finding("settings", "ok", f"home {settings.home}; machines {machines}")


def _disk(settings: Settings) -> Finding:
    place = contract.open_store(settings.storage).local("probe") if _is_local(settings) else settings.home
    folder = next(each for each in (place or settings.home).parents if each.exists())
    free = shutil.disk_usage(folder).free / GIB
    told = f"{free:,.0f} GiB free at {folder}"
    fix = "make room, or let AXO_STORAGE name a larger place"
    if free < _LITTLE_GIB:
        return Finding("disk", "fail", told, fix, away=True)
    return Finding("disk", "warn", told, fix) if free < _ROOM_GIB else Finding("disk", "ok", told)


def _is_local(settings: Settings) -> bool:
    return settings.storage.startswith("file://")


def _storage(settings: Settings) -> Finding:
    """Whether storage keeps its promises: what is written comes back, and one of many creates an object."""
    fix = "let AXO_STORAGE name a folder or bucket that can be written"
    url = settings.of("default").storage
    try:
        contract.prove_store(contract.open_store(url))
    except (OSError, contract.ContractError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        told = str(error) if isinstance(error, contract.StoreError) else f"{url}: {said or error}"
        return Finding("storage", "fail", told, fix, away=True)
    return Finding("storage", "ok", f"{url} can be written and read, and has one winner among writers")


def _database(settings: Settings) -> Finding:
    from orchestrator.db import opened, shown

    where = "the database"
    try:
        where = shown(settings.database_url)
        with opened(settings.database_url) as database:
            runs = sum(database.count().values())
        return Finding("database", "ok", f"{runs:,} runs in {where}")
    except DatabaseError as error:
        fix = "start it, move it away, or let AXO_DATABASE name another; runs in storage stay"
        return Finding("database", "fail", f"{where}: {_cause(error)}", fix, away=True)
    except SettingsError as error:
        return Finding("database", "fail", str(error), error.hint)


def _cause(error: BaseException) -> str:
    """What the database's own driver said, in one line."""
    found = error.__cause__ or error
    return str(getattr(found, "orig", None) or found).splitlines()[0]


def _secrets(folder: Path) -> Finding:
    """Whether secrets are for their owner alone; their values are not read."""
    if not folder.is_dir():
        return Finding("secrets", "ok", f"none: there is no folder {folder}")
    try:
        open_to_others = [path for path in (folder, *folder.rglob("*")) if _is_open(path)]
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        fix = "mend it, or let AXO_SECRETS name another folder"
        return Finding("secrets", "fail", f"{error.filename} cannot be read: {error.strerror}", fix)
    told = f"{', '.join(names) or 'none'} in {folder}"
    if open_to_others:
        return Finding("secrets", "warn", f"{told}; others may read them", f"chmod -R go-rwx {folder}")
    return Finding("secrets", "ok", told)


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _trainer(python: Path) -> Finding:
    """The trainer's environment, by what is installed in it; PyTorch itself is not loaded."""
    fix = "make it with `scripts/setup trainer`, or let AXO_TRAINER_PYTHON name one that has Axolotl"
    if not python.exists():
        return Finding("trainer", "fail", f"there is no {python}", fix)
    try:
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("trainer", "fail", f"{python} does not run: {error}", fix)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        return Finding("trainer", "fail", f"{python} lacks what training needs: {last}", fix)
    versions = json.loads(done.stdout)
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    if versions["axolotl"] != AXOLOTL_VERSION:
        return Finding("trainer", "fail", f"{told}; Axolotl {AXOLOTL_VERSION} is needed", fix)
    return Finding("trainer", "ok", told)


def _launches(settings: Settings) -> Finding:
    """Whether the engine or cluster answers, and would take a launch of preparing and, on each machine, of
    training."""
    about = {"docker": "engine", "kubernetes": "cluster"}[settings.backend]
    machines = list(settings.machines.values())
    steps: list[tuple[contract.StepKind, Machine]] = [("prepare", machines[0])]
    steps += [("train", machine) for machine in machines]
    refused: dict[str, str | None] = {}
    full: BackendFull | None = None
    try:
        backend = open_backend(settings)
        with contextlib.closing(backend):
            for step, machine in steps:
                launch = LaunchRequest("doctor-xxxxx", 1, step, settings.of("default").storage, machine)
                try:
                    backend.check(launch)
                except BackendFull as error:
                    full = error
                except BackendAway:
                    raise
                except BackendError as error:
                    refused[str(error)] = error.hint
    except BackendError as error:
        return Finding(about, "fail", str(error), error.hint, away=True)
    if refused:
        return Finding(about, "fail", "; ".join(refused), next(filter(None, refused.values()), None))
    if full:
        return Finding(about, "warn", str(full), "wait until launches have ended, or raise the quota")
    return Finding(about, "ok", f"it answers, and would take launches on {', '.join(settings.machines)}")


def _gpus() -> Finding:
    if found := gpus():
        return Finding("gpu", "ok", "; ".join(found))
    fix = "install the NVIDIA driver where there is one; machine `cpu` needs none"
    return Finding("gpu", "warn", "none is seen, so only machine `cpu` can run here", fix)


def _mlflow(settings: Settings) -> Finding:
    """An API call: the server's /health answers also where its API refuses us."""
    if not settings.mlflow_uri:
        fix = "set AXO_MLFLOW_URI, such as http://localhost:5000"
        return Finding("mlflow", "warn", "no server is set: runs are not tracked, nor published there", fix)
    from orchestrator.mlflow_client import public_uri
    from orchestrator.tracking import Tracker

    try:
        Tracker(settings.mlflow_uri).check()
    except OrchestratorError as error:
        return Finding("mlflow", "fail", str(error), error.hint, away=True)
    return Finding("mlflow", "ok", f"its API answers at {public_uri(settings.mlflow_uri)}")
