"""How much of storage runs, uploads and datasets take."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.rows import to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Run
from orchestrator.runs import Status

# Raises where there is no room; given what tells how many bytes the project takes. That is asked within the
# transaction that wants the room: a second connection may be waited for in vain.
Check = Callable[[Callable[[], int]], None]
_FINAL = [status.value for status in Status if status.final]


class Usage(Transactions):
    """Bytes in storage, as they were last measured."""

    def to_measure(self, before: float, limit: int) -> list[Run]:
        """Runs that go on and were not measured since then, and ended ones not since their end; those that
        have waited longest first."""
        runs = t.runs.c
        going = sa.and_(runs.status.not_in(_FINAL), runs.measured < before)
        ended = sa.and_(runs.status.in_(_FINAL), runs.measured < runs.ended)
        query = sa.select(t.runs).where(sa.or_(runs.measured.is_(None), going, ended))
        with self.reading() as connection:
            found = connection.execute(query.order_by(runs.measured.nulls_first()).limit(limit))
            return [to_run(row) for row in found]

    def measured(self, run: str, stored: int, now: float) -> None:
        """Remember how many bytes a run takes."""
        with self.writing() as connection:
            connection.execute(update_run(run, stored=stored, measured=now))


def stored_by(connection: sa.Connection, project: str) -> int:
    """The bytes that a project's runs, uploads and datasets take; a dataset that others hold too counts."""
    runs = sa.select(sa.func.coalesce(sa.func.sum(t.runs.c.stored), 0)).where(t.runs.c.project == project)
    files = sa.select(sa.func.coalesce(sa.func.sum(t.files.c.size), 0)).where(t.files.c.project == project)
    held = sa.select(sa.func.coalesce(sa.func.sum(t.datasets.c.size), 0)).where(
        t.datasets.c.project == project
    )
    held = held.where(t.datasets.c.deleted.is_(None))
    parts = (runs.scalar_subquery(), files.scalar_subquery(), held.scalar_subquery())
    return int(connection.scalar(sa.select(parts[0] + parts[1] + parts[2])) or 0)
