"""Publish a finished adapter to every registry its spec names, and read it back."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator import contract
from orchestrator.controller.of_run import spec_of
from orchestrator.controller.package import make_package
from orchestrator.db import Database, Publication, Run
from orchestrator.errors import RegistryError
from orchestrator.registries import Package, Published, Registry, RegistryAway
from orchestrator.registries.mlflow import MlflowRegistry
from orchestrator.settings import Settings
from orchestrator.spec.models import Target


def publish(settings: Settings, database: Database, run: Run, store: contract.Store, now: float) -> None:
    """Push the adapter to each registry that has not confirmed it; idempotent.

    Raises:
        RegistryAway: a registry cannot be reached; trying again later may help.
        RegistryError: a registry refuses, or does not hold what was pushed.
    """
    spec = spec_of(run)
    done = {publication.target for publication in database.publications(run.id)}
    missing = [index for index in range(len(spec.publish)) if index not in done]
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="axo-publish-") as scratch:
        package = make_package(run, spec, store, database, Path(scratch) / "adapter")
        errors: list[RegistryError] = []
        for index in missing:
            try:
                published = _push(open_registry(settings, spec.publish[index], run), package)
            except RegistryError as error:  # the others are not held back by it
                errors.append(error)
            else:
                database.add_publication(run.id, _publication(index, published, now))
    if errors:  # a refusal says more than a registry that is away
        raise min(errors, key=lambda each: isinstance(each, RegistryAway))


def verify(settings: Settings, run: Run, publication: Publication) -> list[str]:
    """Re-read one publication of a run; what is untrue of it, in sentences."""
    spec = spec_of(run)
    registry = open_registry(settings, spec.publish[publication.target], run)
    return registry.verify(
        Published(
            publication.registry,
            publication.reference,
            publication.version,
            publication.url,
            publication.digest,
        )
    )


def open_registry(settings: Settings, target: Target, run: Run) -> Registry:
    """The registry behind a target of the spec."""
    if not settings.mlflow_uri:
        raise RegistryError("no MLflow server is configured", hint="set AXO_MLFLOW_URI")
    if run.mlflow_run is None:
        raise RegistryAway(f"MLflow at {settings.mlflow_uri} does not answer", hint="is the server up?")
    model = model_name(run.project, target.mlflow.model)
    return MlflowRegistry(settings.mlflow_uri, model, target.mlflow.alias, run.mlflow_run)


def model_name(project: str, model: str) -> str:
    """What a project's model is called in MLflow. A spec's models have no dot in their names, so no
    project reaches those of another."""
    return model if project == "default" else f"{project}.{model}"


def _push(registry: Registry, package: Package) -> Published:
    published = registry.push(package)
    if faults := registry.verify(published):
        raise RegistryError(f"{published.reference} is not what was pushed: {faults[0]}")
    return published


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
