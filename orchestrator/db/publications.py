"""What registries confirmed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.events import add_event
from orchestrator.db.rows import update_run
from orchestrator.db.runs import RunMoved
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Publication, Run, Version
from orchestrator.runs import Status
from orchestrator.spec.stored import model_of


class Publications(Transactions):
    """Confirmations, one for each target of a run."""

    def publications(self, run: str) -> list[Publication]:
        query = sa.select(t.publications).where(t.publications.c.run == run)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(t.publications.c.target)).mappings()
            return [_publication(row) for row in rows]

    def published(self, project: str, limit: int) -> list[Version]:
        """What was published of a project's runs, newest first."""
        ran = sa.outerjoin(t.publications, t.runs, t.runs.c.id == t.publications.c.run)
        query = sa.select(t.publications, t.runs.c.name.label("named"), t.runs.c.spec).select_from(ran)
        query = query.where(sa.or_(t.runs.c.project == project, t.publications.c.project == project))
        with self.reading() as connection:
            rows = connection.execute(query.order_by(t.publications.c.time.desc()).limit(limit))
            return [_version(row) for row in rows.mappings()]

    def add_publication(self, run: str, publication: Publication) -> None:
        values = {"run": run, **dataclasses.asdict(publication)}
        keys = ["run", "target"]
        changed = {name: value for name, value in values.items() if name not in keys}
        with self.writing() as connection:
            connection.execute(
                insert(connection, t.publications)
                .values(values)
                .on_conflict_do_update(index_elements=keys, set_=changed)
            )

    def publish_anew(self, run: Run, targets: Collection[int], message: str, now: float) -> Run:
        """Take back what registries confirmed for these targets of a run that has succeeded, and have it
        published.

        Raises:
            RunMoved: the run is no longer as it was.
        """
        changes: dict[str, Any] = {"status": Status.PUBLISHING, "reason": None, "message": message}
        changes |= {"updated": now, "ended": None, "tell": now, "look": now}
        gone = t.publications.delete().where(t.publications.c.run == run.id)
        with self.writing() as connection:
            moved = connection.execute(update_run(run.id, **changes).where(t.runs.c.status == run.status))
            if moved.rowcount == 0:
                raise RunMoved(f"{run.id} is no longer {run.status}")
            connection.execute(gone.where(t.publications.c.target.in_(targets)))
            add_event(connection, run.id, now, Status.PUBLISHING, None, message)
        return dataclasses.replace(run, **changes)


def _publication(row: sa.RowMapping) -> Publication:
    return Publication(**{field.name: row[field.name] for field in dataclasses.fields(Publication)})


def _version(row: sa.RowMapping) -> Version:
    """A run that is there tells of itself; of a deleted one the publication does."""
    spec = row["spec"]
    deleted = spec is None
    return Version(
        run=row["run"],
        name=row["name"] if deleted else row["named"],
        base_model=row["base_model"] if deleted else model_of(spec),
        deleted=deleted,
        publication=_publication(row),
    )
