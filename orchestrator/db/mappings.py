"""The mappings that a project shares, by their names."""

from __future__ import annotations

import dataclasses

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import NamedMapping
from orchestrator.errors import NotFoundError
from orchestrator.nearest import did_you_mean


class Mappings(Transactions):
    """Mappings that specs name. A run keeps the text it was submitted with, so each may change and go."""

    def put_mapping(self, mapping: NamedMapping) -> None:
        """Keep a mapping, in the place of the one that has its name."""
        values = dataclasses.asdict(mapping)
        keys = ("project", "name")
        changed = {name: value for name, value in values.items() if name not in keys}
        with self.writing() as connection:
            added = insert(connection, t.mappings).values(values)
            connection.execute(added.on_conflict_do_update(index_elements=keys, set_=changed))

    def mapping(self, project: str, name: str) -> NamedMapping:
        """Raises NotFoundError, whose hint has a close name, where there is none of that name."""
        with self.reading() as connection:
            row = connection.execute(sa.select(t.mappings).where(*_one(project, name))).one_or_none()
        if row is None:
            raise self._missing(project, name)
        return NamedMapping(**row._mapping)

    def mappings(self, project: str, limit: int, after: str | None = None) -> list[NamedMapping]:
        """The mappings of a project by their names, from the one that follows `after` on."""
        query = sa.select(t.mappings).where(t.mappings.c.project == project).order_by(t.mappings.c.name)
        if after is not None:
            query = query.where(t.mappings.c.name > after)
        with self.reading() as connection:
            return [NamedMapping(**row._mapping) for row in connection.execute(query.limit(limit))]

    def delete_mapping(self, project: str, name: str) -> None:
        """Raises NotFoundError as `mapping` does."""
        with self.writing(recorded=False) as connection:
            gone = connection.execute(t.mappings.delete().where(*_one(project, name))).rowcount
            if gone:
                self.record(connection)
        if not gone:
            raise self._missing(project, name)

    def _missing(self, project: str, name: str) -> NotFoundError:
        query = sa.select(t.mappings.c.name).where(t.mappings.c.project == project)
        with self.reading() as connection:
            meant = did_you_mean(name, connection.scalars(query))
        return NotFoundError(f"there is no mapping {name!r}", hint=f"{meant}`axo mappings` lists them")


def _one(project: str, name: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return t.mappings.c.project == project, t.mappings.c.name == name
