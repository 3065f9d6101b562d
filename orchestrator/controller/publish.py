"""Publish a finished adapter to every registry its spec names, and read it back."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator import contract
from orchestrator.db import Database, Publication, Run
from orchestrator.errors import RegistryError
from orchestrator.registries import Package, Published, Registry
from orchestrator.registries.card import CardFacts, provenance, render_card
from orchestrator.registries.mlflow import MlflowRegistry
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec, Target


def publish(settings: Settings, database: Database, run: Run, store: contract.Store, now: float) -> None:
    """Push the adapter to each registry that has not confirmed it; idempotent.

    Raises:
        RegistryError: a registry is away or refuses, or does not hold what was pushed.
    """
    spec = Spec.model_validate(dict(run.spec))
    done = {publication.target for publication in database.publications(run.id)}
    missing = [index for index in range(len(spec.publish)) if index not in done]
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="axo-publish-") as scratch:
        package = make_package(run, spec, store, database, Path(scratch))
        for index in missing:
            registry = open_registry(settings, spec.publish[index], run)
            published = registry.push(package)
            if faults := registry.verify(published):
                raise RegistryError(f"{published.reference} is not what was pushed: {faults[0]}")
            database.add_publication(run.id, _publication(index, published, now))


def open_registry(settings: Settings, target: Target, run: Run) -> Registry:
    """The registry behind a target of the spec. Raises RegistryError where it is not to be had."""
    if not settings.mlflow_uri:
        raise RegistryError("no MLflow server is configured", hint="set AXO_MLFLOW_URI")
    if run.mlflow_run is None:
        raise RegistryError("MLflow is away", hint=f"looked at {settings.mlflow_uri}")
    return MlflowRegistry(settings.mlflow_uri, target.mlflow.model, target.mlflow.alias, run.mlflow_run)


def make_package(run: Run, spec: Spec, store: contract.Store, database: Database, scratch: Path) -> Package:
    """The adapter's files, checked against their manifest, with model card and provenance beside them."""
    folder = scratch / "adapter"
    try:
        manifest = contract.fetch_folder(store, contract.ADAPTER, folder)
    except contract.ContractError as error:
        raise RegistryError(f"the adapter in storage is not whole: {error}") from error
    origin = provenance_of(run, spec, store, database, manifest)
    (folder / "provenance.json").write_text(json.dumps(origin, indent=1, sort_keys=True) + "\n")
    (folder / "README.md").write_text(render_card(card_facts(run, spec, folder, manifest, origin)))
    return Package(
        folder=folder,
        digest=manifest.digest,
        name=spec.name,
        run_id=run.id,
        tags=_tags(run, spec, manifest, origin),
    )


def _publication(index: int, published: Published, now: float) -> Publication:
    return Publication(
        target=index,
        registry=published.registry,
        reference=published.reference,
        version=published.version,
        url=published.url,
        digest=published.digest,
        time=now,
    )
