"""When the controller must look at which run next, and tell MLflow of which."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.rows import to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Run


class Due(Transactions):
    """The times in `runs.look` and `runs.tell`."""

    def due(self, now: float, limit: int) -> list[Run]:
        """The runs that the controller must look at by now, those that have waited longest first."""
        query = sa.select(t.runs).where(t.runs.c.look <= now).order_by(t.runs.c.look).limit(limit)
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query)]

    def look_again(self, run: str, seen: float | None, look: float | None) -> None:
        """Say when to look at a run again, unless somebody has wanted something of it since `seen`."""
        query = update_run(run, look=look).where(t.runs.c.look.is_not_distinct_from(seen))
        with self.writing() as connection:
            connection.execute(query)

    def look_now(self, run: str, now: float) -> None:
        """Have the controller look at a run at once."""
        with self.writing() as connection:
            connection.execute(update_run(run, look=now))

    def to_tell(self, now: float) -> list[str]:
        """The ids of the runs that MLflow must be told of by now, those that have waited longest first."""
        query = sa.select(t.runs.c.id).where(t.runs.c.tell <= now).order_by(t.runs.c.tell)
        with self.reading() as connection:
            return list(connection.scalars(query))

    def tell_again(self, run: str, tell: float) -> None:
        """Say when MLflow must next be told of a run, whatever comes before."""
        with self.writing() as connection:
            connection.execute(update_run(run, tell=tell))

    def told(self, run: str, seen: float) -> None:
        """MLflow knows everything, unless there has been news since somebody set `tell` to `seen`."""
        with self.writing() as connection:
            connection.execute(update_run(run, tell=None).where(t.runs.c.tell == seen))
