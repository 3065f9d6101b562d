"""Names that a key press completes: of runs, models, datasets, uploads, mappings, machines and contexts.

A key press has no time: what this home's database knows is read with the standard library alone. What a
service elsewhere knows is remembered in a file; a process of its own asks for it, and the key press
waits for that a quarter of a second at most.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.home import home_of
from orchestrator.machines import MACHINES

MOST = 50
WAIT_SECONDS = 0.25
FRESH_SECONDS = 10.0  # what was remembered so lately is not asked for again, nor after a failure
Kind = Literal["runs", "models", "datasets", "uploads", "mappings", "machines"]
_QUERIES: Mapping[Kind, str] = {
    "runs": "SELECT id, status FROM runs WHERE substr(id, 1, ?) = ? ORDER BY created DESC LIMIT ?",
    "models": "SELECT reference, run FROM publications WHERE substr(reference, 1, ?) = ? "
    "ORDER BY time DESC LIMIT ?",
    "datasets": "SELECT digest, json_extract(facts, '$.rows') || ' rows' FROM datasets "
    "WHERE project = 'default' AND deleted IS NULL AND substr(digest, 1, ?) = ? ORDER BY used DESC LIMIT ?",
    "uploads": "SELECT sha256, size || ' bytes' FROM files "
    "WHERE project = 'default' AND substr(sha256, 1, ?) = ? ORDER BY created DESC LIMIT ?",
    "mappings": "SELECT name, substr(sha256, 1, 12) FROM mappings "
    "WHERE project = 'default' AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
}

Named = tuple[str, str]  # a name, and what is said beside it


def names(kind: Kind, prefix: str, context: str | None = None) -> list[Named]:
    """Names of a kind that begin with `prefix`, in the service of that context, and what is said of each:
    of a run its status, of a published model its run."""
    service = _service(context)
    if service is None:
        return _machines(prefix) if kind == "machines" else _of_database(_QUERIES[kind], prefix)
    _refresh(service)
    try:
        found = json.loads(service.file.read_text())[kind]
        return [(name, told) for name, told in found if name.startswith(prefix)][:MOST]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def context_names(prefix: str) -> list[Named]:
    """Contexts that begin with `prefix`, and their services."""
    known = {
        "local": "the service of this machine",
        **{name: each.url for name, each in _contexts()[1].items()},
    }
    return [(name, url) for name, url in known.items() if name.startswith(prefix)]


@dataclass(frozen=True)
class _Service:
    """A service elsewhere."""

    url: str
    key: str | None = None
    project: str | None = None
    token_command: str | None = None

    @property
    def file(self) -> Path:
        """Where its names are remembered."""
        who = f"{self.url}\n{self.key or self.token_command}\n{self.project}"
        digest = hashlib.sha256(who.encode()).hexdigest()
        return home_of() / "cache" / "names" / f"{digest[:16]}.json"


def _machines(prefix: str) -> list[Named]:
    """Those that are there by themselves, and those of this home's settings file."""
    file = Path(os.environ.get("AXO_SETTINGS") or home_of() / "settings.yaml")
    read = _yaml(file) if file.is_file() else None
    named = read.get("machines") if isinstance(read, dict) else None
    known = [*MACHINES, *(map(str, named) if isinstance(named, dict) else ())]
    return [(name, "machine") for name in dict.fromkeys(known) if name.startswith(prefix)]


def _of_database(query: str, prefix: str) -> list[Named]:
    file = (home_of() / "axo.db").absolute()
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            return connection.execute(query, (len(prefix), prefix, MOST)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return []


def _service(context: str | None) -> _Service | None:
    """The service elsewhere that is spoken to; None for that of this machine, and where nobody can tell."""
    if context is None and (url := os.environ.get("AXO_URL")):
        return _Service(url, *map(os.environ.get, ("AXO_KEY", "AXO_PROJECT", "AXO_TOKEN_COMMAND")))
    current, known = _contexts()
    return known.get(context or current)


def _contexts() -> tuple[str, Mapping[str, _Service]]:
    """The current context and all those of services elsewhere; what is no file of contexts has none."""
    file = home_of() / "config.yaml"
    if not file.is_file():
        return "local", {}
    try:
        read: Any = _yaml(file)
        known = {
            str(name): _Service(str(entry["url"]), *map(entry.get, ("key", "project", "token_command")))
            for name, entry in read["contexts"].items()
        }
        return str(read.get("current", "local")), known
    except (KeyError, TypeError, AttributeError):
        return "local", {}


def _yaml(file: Path) -> object:
    """What a file of YAML holds; None where it is none."""
    import yaml

    try:
        return yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _refresh(service: _Service) -> None:
    """Have a service asked for its names, unless it was of late, and wait a moment for the answer."""
    if not hasattr(os, "fork") or _is_fresh(asked := service.file.with_suffix(".asked")):
        return
    try:
        asked.parent.mkdir(parents=True, exist_ok=True)
        asked.touch()
    except OSError:
        return
    child = os.fork()
    if child == 0:
        _alone(lambda: _ask(service))
    until = time.monotonic() + WAIT_SECONDS
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < until:
        time.sleep(0.005)


def _is_fresh(file: Path) -> bool:
    with suppress(OSError):
        return 0 <= time.time() - file.stat().st_mtime < FRESH_SECONDS
    return False


def _alone(work: Callable[[], None]) -> None:
    """Work on without the shell, which waits until nobody writes to it any more; does not return."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        work()
    finally:
        os._exit(0)


def _ask(service: _Service) -> None:
    from orchestrator.client import Client
    from orchestrator.client.credential import TokenCommand

    credential = TokenCommand(service.token_command) if service.token_command else service.key
    with Client(service.url, credential, project=service.project) as client:
        client.patience.away = client.patience.busy = 0.0
        found: Mapping[Kind, Sequence[Named]] = {
            "runs": [(run.id, run.status.value) for run in client.runs(limit=500)],
            "models": [(model.reference, model.run) for model in client.models(limit=500)],
            "datasets": [(each.digest, f"{each.rows} rows") for each in client.datasets(limit=500)],
            "uploads": [(file.sha256, f"{file.size} bytes") for file in client.files(limit=500)],
            "mappings": [(mapping.name, mapping.sha256[:12]) for mapping in client.mappings(limit=500)],
            "machines": [(machine.name, "machine") for machine in client.machines()],
        }
    _remember(service.file, found)


def _remember(file: Path, names: Mapping[Kind, Sequence[Named]]) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        json.dump(names, opened)
    fresh.replace(file)
