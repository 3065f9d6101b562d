"""How much of storage runs, uploads and datasets take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.rows import FINAL, to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Run

# Raises where there is no room; given what tells how many bytes the project takes. That is asked within the
# transaction that wants the room: a second connection may be waited for in vain.
Check = Callable[[Callable[[], int]], None]


class Usage(Transactions):
    """Bytes in storage, as they were last measured."""

    def to_measure(self, before: float, limit: int) -> list[Run]:
        """Runs that go on and were not measured since then, and ended ones not since their end; those that
        have waited longest first."""
        runs = t.runs.c
        going = sa.and_(runs.status.not_in(FINAL), runs.measured < before)
        ended = sa.and_(runs.status.in_(FINAL), runs.measured < runs.ended)
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
    runs = _sum_of(t.runs.c.stored).where(t.runs.c.project == project)
    files = _sum_of(t.files.c.size).where(t.files.c.project == project)
    held = _sum_of(t.datasets.c.size).where(t.datasets.c.project == project, t.datasets.c.deleted.is_(None))
    all_of_it = runs.scalar_subquery() + files.scalar_subquery() + held.scalar_subquery()
    return int(connection.scalar(sa.select(all_of_it)) or 0)


def _sum_of(bytes_taken: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Their sum; 0 where there is no row."""
    return sa.select(sa.func.coalesce(sa.func.sum(bytes_taken), 0))
