"""The verbs about what there is: the operator's machines and registries, a project's models."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from orchestrator import wire
from orchestrator.db import Database
from orchestrator.mlflow_client import public_uri
from orchestrator.service import told
from orchestrator.service.caller import Caller
from orchestrator.settings import Settings


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

    def models(self, caller: Caller, limit: int) -> list[wire.Model]:
        """The published versions of the project, newest first."""
        return [told.version(version) for version in self.database.published(caller.project, limit)]
