"""Prepared datasets: which of them a project holds, and what becomes of those that nobody does.

Projects that share a storage share its datasets by their content. Each holds what its runs used until it
deletes that; the files go with the last project that held them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator import contract
from orchestrator.db import tables as t
from orchestrator.db.deletions import note_removal
from orchestrator.db.engine import serialise
from orchestrator.db.rows import FINAL, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Dataset, Run
from orchestrator.errors import ConflictError, NotFoundError

_MOST_RUNS = 1000  # that are told of datasets
_TOLD = [t.datasets.c[field.name] for field in dataclasses.fields(Dataset)]
_of_run = t.runs.c.facts["dataset"].as_string()


class Datasets(Transactions):
    """Datasets by project and digest."""

    def take_dataset(self, run: Run, facts: Mapping[str, Any], launch: int) -> Run | None:
        """Merge what the launch of that number prepared into the run's facts, and hold its dataset.

        None where the dataset's files went after the launch had begun: it may have counted on them, so they
        must be prepared again.

        Raises:
            ConflictError: they are being removed now.
        """
        digest, whole = str(facts["dataset"]), {**run.facts, **facts}
        with self.writing() as connection:
            serialise(connection, "dataset", run.storage, digest)
            if connection.scalar(_being_removed(run.storage, digest)) is not None:
                raise ConflictError(f"dataset {digest[:12]} is being removed from storage", hint="a moment")
            if connection.scalar(_gone_since(run.storage, digest, run.id, launch)) is not None:
                return None
            _hold(connection, run, digest, facts.get("dataset_facts") or {})
            connection.execute(update_run(run.id, facts=whole))
        return dataclasses.replace(run, facts=whole)

    def datasets(self, project: str, limit: int) -> list[Dataset]:
        """What a project holds, the last used first."""
        query = sa.select(*_TOLD).where(t.datasets.c.project == project, t.datasets.c.deleted.is_(None))
        query = query.order_by(t.datasets.c.used.desc(), t.datasets.c.digest).limit(limit)
        with self.reading() as connection:
            return [Dataset(**row) for row in connection.execute(query).mappings()]

    def dataset(self, project: str, digest: str) -> Dataset:
        """Raises NotFoundError where the project does not hold it."""
        with self.reading() as connection:
            row = connection.execute(_held(project, digest)).mappings().one_or_none()
        if row is None:
            raise _unknown(digest)
        return Dataset(**row)

    def runs_of_datasets(self, datasets: Sequence[Dataset]) -> dict[str, list[str]]:
        """The newest runs, newest first, by the digest of the dataset that each used; all of one project."""
        found: dict[str, list[str]] = {each.digest: [] for each in datasets}
        if not datasets:
            return found
        first, last = min(each.created for each in datasets), max(each.used for each in datasets)
        query = sa.select(t.runs.c.id, _of_run.label("dataset")).where(
            t.runs.c.project == datasets[0].project,
            t.runs.c.created.between(first, last),  # so that not all of its facts are read
            _of_run.in_(found),
        )
        newest = query.order_by(t.runs.c.created.desc(), t.runs.c.id.desc()).limit(_MOST_RUNS)
        with self.reading() as connection:
            for row in connection.execute(newest):
                found[row.dataset].append(row.id)
        return found

    def delete_dataset(self, project: str, digest: str, now: float) -> None:
        """Let go of a dataset; where nobody else holds it, note that its files are to go.

        Raises:
            NotFoundError: the project does not hold it.
            ConflictError: a run that has not ended uses it.
        """
        with self.writing() as connection:
            held = connection.execute(_held(project, digest)).one_or_none()
            if held is None:
                raise _unknown(digest)
            serialise(connection, "dataset", held.storage, digest)
            users = connection.execute(_users(digest)).all()
            if own := [row.id for row in users if row.project == project]:
                raise _in_use(own)
            let_go = connection.execute(
                t.datasets.update()
                .where(t.datasets.c.project == project, t.datasets.c.digest == digest)
                .where(t.datasets.c.deleted.is_(None))
                .values(deleted=now)
            )
            if not let_go.rowcount:
                raise _unknown(digest)
            if not users and connection.scalar(_held_at(held.storage, digest)) is None:
                connection.execute(_at(held.storage, digest).values(removed=now))
                note_removal(connection, held.storage, contract.dataset_key(digest), now)

    def unmeasured_datasets(self, limit: int) -> list[Dataset]:
        """Datasets whose size nobody knows yet."""
        query = sa.select(*_TOLD).where(t.datasets.c.size.is_(None), t.datasets.c.deleted.is_(None))
        with self.reading() as connection:
            return [Dataset(**row) for row in connection.execute(query.limit(limit)).mappings()]

    def measured_dataset(self, dataset: Dataset, size: int) -> None:
        """Remember how many bytes a dataset takes."""
        with self.writing() as connection:
            connection.execute(_at(dataset.storage, dataset.digest).values(size=size))


def _hold(connection: sa.Connection, run: Run, digest: str, facts: Mapping[str, Any]) -> None:
    row = (t.datasets.c.project == run.project, t.datasets.c.digest == digest)
    before = connection.execute(sa.select(t.datasets).where(*row)).one_or_none()
    fresh = {"storage": run.storage, "facts": facts, "created": run.created, "used": run.created}
    if before is None:
        connection.execute(t.datasets.insert().values(project=run.project, digest=digest, **fresh))
    elif before.deleted is not None:
        connection.execute(t.datasets.update().where(*row).values(**fresh, size=None, deleted=None))
    else:
        span = {"created": min(before.created, run.created), "used": max(before.used, run.created)}
        connection.execute(t.datasets.update().where(*row).values(storage=run.storage, **span))


def _held(project: str, digest: str) -> sa.Select[Any]:
    query = sa.select(*_TOLD).where(t.datasets.c.project == project, t.datasets.c.digest == digest)
    return query.where(t.datasets.c.deleted.is_(None))


def _at(storage: str, digest: str) -> sa.Update:
    return t.datasets.update().where(t.datasets.c.storage == storage, t.datasets.c.digest == digest)


def _held_at(storage: str, digest: str) -> sa.Select[Any]:
    query = sa.select(t.datasets.c.project).where(t.datasets.c.storage == storage)
    return query.where(t.datasets.c.digest == digest, t.datasets.c.deleted.is_(None)).limit(1)


def _gone_since(storage: str, digest: str, run: str, launch: int) -> sa.Select[Any]:
    """A removal of a dataset's files that is not over since before a launch began."""
    began = sa.select(t.launches.c.created).where(t.launches.c.run == run, t.launches.c.number == launch)
    gone = (t.datasets.c.digest == digest, t.datasets.c.removed >= began.scalar_subquery())
    return sa.select(t.datasets.c.removed).where(t.datasets.c.storage == storage, *gone).limit(1)


def _being_removed(storage: str, digest: str) -> sa.Select[Any]:
    query = sa.select(t.removals.c.id).where(t.removals.c.storage == storage)
    return query.where(t.removals.c.folder == contract.dataset_key(digest)).limit(1)


def _users(digest: str) -> sa.Select[Any]:
    """The runs of any project that have not ended and use a dataset."""
    query = sa.select(t.runs.c.id, t.runs.c.project).where(t.runs.c.status.not_in(FINAL), _of_run == digest)
    return query.order_by(t.runs.c.created).limit(100)


def _in_use(runs: Sequence[str]) -> ConflictError:
    listed = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
    if len(runs) == 1:
        return ConflictError(f"{listed} uses it", hint=f"wait until it has ended, or `axo cancel {listed}`")
    return ConflictError(f"{listed} use it", hint="wait until they have ended, or cancel them")


def _unknown(digest: str) -> NotFoundError:
    return NotFoundError(f"there is no dataset {digest}", hint="`axo datasets` lists them")
