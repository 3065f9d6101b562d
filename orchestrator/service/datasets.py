"""The verbs about prepared datasets: list what the project holds, look at one, delete it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator import contract, db, wire
from orchestrator.controller.removals import Removals
from orchestrator.db import Database
from orchestrator.service.caller import Caller, Role


@dataclass(frozen=True)
class Datasets:
    """Verbs about the project's datasets; each raises NotFoundError for one that it does not hold."""

    database: Database
    clock: Callable[[], float]

    def page(self, caller: Caller, limit: int) -> list[wire.Dataset]:
        """The datasets of the project, the last used first."""
        found = self.database.datasets(caller.project, limit)
        users = self.database.runs_of_datasets(found)
        return [_told(each, users[each.digest]) for each in found]

    def get(self, caller: Caller, digest: str) -> wire.Dataset:
        """A dataset, and the runs that used it."""
        found = self.database.dataset(caller.project, digest)
        return _told(found, self.database.runs_of_datasets([found])[digest])

    def delete(self, caller: Caller, digest: str) -> None:
        """Delete a dataset. Its files stay while another project of the same storage holds it; what cannot
        be removed now is left to the controller.

        Raises:
            ConflictError: a run that has not ended uses it.
        """
        caller.need(Role.SUBMITTER)
        now = self.clock()
        database = self.database.by(caller.change("dataset.delete", digest, now))
        database.delete_dataset(caller.project, digest, now)
        removals = Removals(self.database, self.clock)
        for noted in self.database.removals(contract.dataset_key(digest)):
            removals.one(noted)


def _told(dataset: db.Dataset, runs: Sequence[str]) -> wire.Dataset:
    facts = dataset.facts
    return wire.Dataset(
        digest=dataset.digest,
        rows=facts.get("rows", 0),
        validation_rows=facts.get("validation_rows", 0),
        tokens=facts.get("tokens"),
        trained_tokens=facts.get("trained_tokens"),
        size=dataset.size,
        created=dataset.created,
        used=dataset.used,
        runs=list(runs),
    )
