"""Fetch a finished adapter into a folder of this machine, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.client.download import Told
from orchestrator.errors import ConflictError, RegistryError
from orchestrator.registries.mlflow import fetch_version, parse_reference
from orchestrator.registries.serving import (
    model_and_revision,
    read_config,
    serving_notes,
    vllm_command,
    vllm_rank,
)
from orchestrator.settings import Settings
from orchestrator.uploads import is_plain_name


@dataclass(frozen=True)
class Pulled:
    """An adapter on this machine: where it is from and lies, its digest, and how vLLM serves it.

    `command` are the lines of that command; none, and the reasons in `notes`, where vLLM cannot.
    `rank` is the `--max-lora-rank` it needs, None for full weights.
    """

    reference: str
    folder: Path
    digest: str
    files: int
    size: int
    command: tuple[str, ...]
    rank: int | None
    notes: tuple[str, ...]


def pull_run(client: Client, name: str, folder: Path | None, told: Told = lambda _: None) -> Pulled:
    """The adapter of a run, with its card and provenance, as it would be published; `folder` is that of
    the run's id where none is given.

    Raises:
        ConflictError: the folder holds something, or the run has no finished adapter.
        RegistryError: the adapter in storage is not whole.
    """
    run = client.run(name)
    adapter = client.adapter(run.id)
    folder = folder or Path(run.id)
    with _appearing(folder) as scratch:
        for file in adapter.files:
            if not is_plain_name(file.path):
                raise RegistryError(f"the service names a file {file.path!r}, which leads elsewhere")
        client.fetch_adapter(adapter, scratch, told)
        base = Path(run.base or ".") / run.base_model
        here = client.embedded and base.is_dir()
        found = (str(base.resolve()), None) if here else model_and_revision(run.base_model)
        return _pulled(run.id, run.name, folder, scratch, adapter.digest, found)


def pull_version(settings: Settings, reference: str, folder: Path) -> Pulled:
    """A version in MLflow's registry.

    Raises:
        ConflictError: the folder holds something.
        RegistryError: no server is set, it is away or refuses, or the version is not what was published.
    """
    name, _, _ = parse_reference(reference)
    if not settings.mlflow_uri:
        raise RegistryError("no MLflow server is configured", hint="set AXO_MLFLOW_URI")
    with _appearing(folder) as scratch:
        fetched = fetch_version(settings.mlflow_uri, reference, scratch)
        origin = _json_file(scratch / "provenance.json") or {}
        base = str((origin.get("base_model") or {}).get("name") or "BASE_MODEL")
        return _pulled(fetched.reference, name, folder, scratch, fetched.digest, model_and_revision(base))


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to fill; it takes that name once it is full, and is gone where it fails."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} holds something already", hint="name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.replace(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _pulled(
    reference: str, name: str, folder: Path, filled: Path, digest: str, base: tuple[str, str | None]
) -> Pulled:
    file = filled / "adapter_config.json"
    config = read_config(file.read_bytes()) if file.exists() else None
    notes = serving_notes(config) if config is not None else []
    path = str(folder.absolute())
    sizes = [file.stat().st_size for file in filled.rglob("*") if file.is_file()]
    return Pulled(
        reference=reference,
        folder=folder,
        digest=digest,
        files=len(sizes),
        size=sum(sizes),
        command=() if notes else tuple(vllm_command(name, *base, config, path)),
        rank=vllm_rank(config) if config is not None else None,
        notes=tuple(notes),
    )


def _json_file(file: Path) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = json.loads(file.read_text()) if file.exists() else None
    return found
