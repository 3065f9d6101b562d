"""The verbs about what a run made: publish it again, prove what was published."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator import contract, wire
from orchestrator.controller.publish import verify
from orchestrator.controller.reconcile import run_store
from orchestrator.db import Database, Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runs import Reason, Status
from orchestrator.service import told
from orchestrator.service.caller import Caller, Role
from orchestrator.settings import Settings


@dataclass(frozen=True)
class Results:
    """Verbs about finished adapters."""

    settings: Settings
    database: Database
    clock: Callable[[], float]
    news: threading.Event

    def publish(self, caller: Caller, name: str) -> wire.Run:
        """Have the adapter pushed to the registries that lack it, now.

        Raises:
            ConflictError: the run has no finished adapter.
        """
        caller.need(Role.SUBMITTER)
        run = self.database.run(name, caller.project)
        if run.status is not Status.SUCCEEDED:
            if contract.read_manifest(run_store(run), contract.ADAPTER) is None or not _held_back(run):
                raise ConflictError(f"{run.id} has no finished adapter: it is {run.status}")
            run = self.database.move(run, Status.PUBLISHING, None, "", self.clock())
        self.database.look_now(run.id, self.clock())
        self.news.set()
        return told.run(run, self.settings)

    def verify(self, caller: Caller, name: str) -> dict[str, list[str]]:
        """Re-read what was published; what is untrue of it, by reference (empty lists: all is true).

        Raises:
            NotFoundError: nothing of the run is published.
        """
        run = self.database.run(name, caller.project)
        publications = self.database.publications(run.id)
        if not publications:
            raise NotFoundError(f"nothing of {run.id} is published", hint=f"`axo publish {run.id}`")
        found = {"adapter in storage": contract.verify_folder(run_store(run), contract.ADAPTER)}
        for publication in publications:
            found[publication.reference] = verify(self.settings, run, publication)
        return found


def _held_back(run: Run) -> bool:
    """Whether only its registries keep a run from its end."""
    return run.status is Status.PUBLISHING or run.reason is Reason.REGISTRY_REFUSED
