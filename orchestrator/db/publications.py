"""What registries confirmed."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Publication


class Publications(Transactions):
    """Confirmations, one for each target of a run."""

    def publications(self, run: str) -> list[Publication]:
        query = sa.select(t.publications).where(t.publications.c.run == run)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(t.publications.c.target)).mappings()
            return [Publication(**{k: v for k, v in row.items() if k != "run"}) for row in rows]

    def published(self, project: str, limit: int) -> list[tuple[str, Publication]]:
        """What was published of a project's runs, newest first, each with its run."""
        query = sa.select(t.publications).join(t.runs, t.runs.c.id == t.publications.c.run)
        query = query.where(t.runs.c.project == project).order_by(t.publications.c.time.desc()).limit(limit)
        with self.reading() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [(row.pop("run"), Publication(**row)) for row in rows]

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
