"""Deleting a run: its rows at once, and a note of what of storage is to go after them."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator import contract
from orchestrator.db import tables as t
from orchestrator.db.rows import FINAL
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import DeletedRun, Removal, Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.spec.stored import model_of

_OF_A_RUN = [
    (table, key.parent)
    for table in t.metadata.sorted_tables
    for key in table.foreign_keys
    if key.column is t.runs.c.id
]


class Deletions(Transactions):
    """What was deleted, and what is yet to be removed from storage."""

    def delete_run(self, run: Run, now: float) -> DeletedRun:
        """Forget a run that has ended and note that its folder is to go; what it published stays known.

        Raises:
            NotFoundError: somebody else has deleted it.
            ConflictError: it goes on, or another run that does trains on from its adapter.
        """
        gone = DeletedRun(run.id, run.project, run.storage, run.mlflow_url, now)
        named = {"project": run.project, "name": run.name, "base_model": model_of(run.spec)}
        with self.writing() as connection:
            _check(connection, run)
            connection.execute(t.deleted_runs.insert().values(**vars(gone)))
            note_removal(connection, run.storage, contract.run_key(run.id), now)
            published = t.publications.c.run == run.id
            connection.execute(t.publications.update().where(published).values(named))
            for table, column in _OF_A_RUN:
                connection.execute(table.delete().where(column == run.id))
            connection.execute(t.runs.delete().where(t.runs.c.id == run.id))
        return gone

    def deleted_run(self, run: str) -> DeletedRun | None:
        """What stays known of the run of that id, where it was deleted."""
        with self.reading() as connection:
            row = connection.execute(sa.select(t.deleted_runs).where(t.deleted_runs.c.id == run))
            found = row.mappings().one_or_none()
        return DeletedRun(**found) if found else None

    def removals(self, folder: str | None = None) -> list[Removal]:
        """The folders that are to go, or what is noted of one, those noted first before the others."""
        query = sa.select(t.removals).order_by(t.removals.c.id).limit(100)
        if folder is not None:
            query = query.where(t.removals.c.folder == folder)
        with self.reading() as connection:
            return [Removal(**row) for row in connection.execute(query).mappings()]

    def remove_again(self, gone: DeletedRun, now: float) -> None:
        """Note a deleted run's folder once more: something may have written there since."""
        with self.writing() as connection:
            note_removal(connection, gone.storage, contract.run_key(gone.id), now)

    def removed(self, removal: Removal, now: float) -> None:
        """A folder is gone. What another note with the same number says, which SQLite may give, stays."""
        same = [t.removals.c[name] == value for name, value in vars(removal).items()]
        folder, digest = removal.folder.rpartition("/")[::2]
        with self.writing() as connection:
            connection.execute(t.removals.delete().where(*same))
            if contract.dataset_key(digest) == f"{folder}/{digest}":
                gone = (t.datasets.c.storage == removal.storage, t.datasets.c.digest == digest)
                connection.execute(t.datasets.update().where(*gone).values(removed=now))


def note_removal(connection: sa.Connection, storage: str, folder: str, now: float) -> None:
    """Note, with what makes a folder useless, that it is to go."""
    connection.execute(t.removals.insert().values(storage=storage, folder=folder, time=now))


def _check(connection: sa.Connection, run: Run) -> None:
    """Hold the run as it is; refuse to delete what somebody needs."""
    standing = sa.select(t.runs.c.status).where(t.runs.c.id == run.id).with_for_update()
    status = connection.scalar(standing)
    if status is None:
        raise NotFoundError(f"{run.id} was deleted")
    if status not in FINAL:
        raise ConflictError(f"{run.id} has not ended", hint=f"`axo cancel {run.id}`, then delete it")
    if connection.scalar(sa.select(t.runs.c.pinned).where(t.runs.c.id == run.id)):
        raise ConflictError(f"{run.id} is pinned", hint=f"`axo models unpin {run.id}`, then delete it")
    check_unused(connection, run)


def check_unused(connection: sa.Connection, run: Run) -> None:
    """Raises ConflictError where a run that has not ended trains on from the adapter of this one."""
    going_on = (t.runs.c.project == run.project, t.runs.c.status.not_in(FINAL))
    earlier = t.runs.c.spec["adapter"]["continue_from"].as_string()
    user = connection.scalar(sa.select(t.runs.c.id).where(*going_on, earlier == run.id).limit(1))
    if user is not None:
        raise ConflictError(
            f"{user} trains on from the adapter of {run.id}",
            hint=f"wait until {user} has ended, or `axo cancel {user}`",
        )
