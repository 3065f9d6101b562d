"""The verbs about what there is: the operator's machines and registries, a project's datasets and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from orchestrator import db, wire
from orchestrator.db import Database
from orchestrator.mlflow_client import public_uri
from orchestrator.service import told
from orchestrator.service.caller import Caller
from orchestrator.settings import Settings

MOST_RUNS = 1000  # that datasets are looked for in


@dataclass(frozen=True)
class Catalogue:
    """Verbs that only look."""

    settings: Settings
    database: Database

    def machines(self, _: Caller) -> list[wire.Machine]:
        """The machines that a spec may name."""
        return [wire.Machine(**asdict(machine)) for machine in self.settings.machines.values()]

    def registries(self, _: Caller) -> list[wire.Registry]:
        """Where adapters may be published to."""
        uri = self.settings.mlflow_uri
        return [wire.Registry(kind="mlflow", url=public_uri(uri))] if uri else []

    def datasets(self, caller: Caller, limit: int) -> list[wire.Dataset]:
        """The datasets that the newest runs of the project used, the last used first."""
        runs = self.database.with_dataset(caller.project, MOST_RUNS)
        by_digest = sorted(runs, key=_dataset)
        found = [_dataset_told(digest, list(users)) for digest, users in groupby(by_digest, _dataset)]
        return sorted(found, key=lambda dataset: -dataset.used)[:limit]

    def models(self, caller: Caller, limit: int) -> list[wire.Model]:
        """The published versions of the project, newest first."""
        return [told.version(version) for version in self.database.published(caller.project, limit)]


def _dataset(run: db.Run) -> str:
    return str(run.facts["dataset"])


def _dataset_told(digest: str, users: Sequence[db.Run]) -> wire.Dataset:
    """A dataset of runs that are in the order of their submission, newest first."""
    facts = users[0].facts.get("dataset_facts") or {}
    return wire.Dataset(
        digest=digest,
        rows=facts.get("rows", 0),
        validation_rows=facts.get("validation_rows", 0),
        tokens=facts.get("tokens"),
        trained_tokens=facts.get("trained_tokens"),
        used=users[0].created,
        runs=[run.id for run in users],
    )
