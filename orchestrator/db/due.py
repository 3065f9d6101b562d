"""When the controller must look at which run next, and tell MLflow of which."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.rows import to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Run
from orchestrator.runs import Intent, Status

_QUEUED = sa.and_(t.runs.c.status == Status.QUEUED.value, t.runs.c.intent == Intent.RUN.value)


class Due(Transactions):
    """The times in `runs.look` and `runs.tell`."""

    def due(self, now: float, limit: int) -> list[Run]:
        """The runs that the controller must look at by now, those that have waited longest first."""
        query = sa.select(t.runs).where(t.runs.c.look <= now).order_by(t.runs.c.look).limit(limit)
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query)]

    def due_beside_the_queue(self, now: float, limit: int) -> list[Run]:
        """The same, but for those that only wait for their first launch."""
        query = sa.select(t.runs).where(t.runs.c.look <= now, sa.not_(_QUEUED))
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query.order_by(t.runs.c.look).limit(limit))]

    def next_of_the_queue(self, now: float, limit: int) -> list[Run]:
        """Those that wait for their first launch, oldest first, one of each project in turn."""
        place = sa.func.row_number().over(
            partition_by=t.runs.c.project, order_by=(t.runs.c.look, t.runs.c.id)
        )
        query = sa.select(t.runs).where(t.runs.c.look <= now, _QUEUED).order_by(place, t.runs.c.look)
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query.limit(limit))]

    def lag(self, now: float) -> tuple[float, float]:
        """Seconds since the first of the due runs was to be looked at, and since MLflow was to be told."""
        query = sa.select(
            sa.func.min(t.runs.c.look), sa.func.min(sa.case((t.runs.c.tell > 0, t.runs.c.tell)))
        )
        with self.reading() as connection:
            look, tell = connection.execute(query).one()
        return max(0.0, now - (look or now)), max(0.0, now - (tell or now))

    def look_again(self, run: str, seen: float | None, look: float | None) -> None:
        """Say when to look at a run again, unless somebody has wanted something of it since `seen`."""
        query = update_run(run, look=look).where(t.runs.c.look.is_not_distinct_from(seen))
        with self.writing() as connection:
            connection.execute(query)

    def look_now(self, run: str, now: float) -> None:
        """Have the controller look at a run at once."""
        with self.writing() as connection:
            connection.execute(update_run(run, look=now))

    def to_tell(self, now: float) -> dict[str, float]:
        """The runs that MLflow must be told of by now, and since when, those that have waited longest first;
        a number below 0 where there is nothing but points."""
        query = sa.select(t.runs.c.id, t.runs.c.tell).where(t.runs.c.tell <= now).order_by(t.runs.c.tell)
        with self.reading() as connection:
            return {row.id: row.tell for row in connection.execute(query)}

    def tell_again(self, run: str, tell: float) -> None:
        """Say when MLflow must next be told of a run, whatever comes before."""
        with self.writing() as connection:
            connection.execute(update_run(run, tell=tell))

    def told(self, run: str, seen: float) -> None:
        """MLflow knows everything, unless there has been news since `tell` was `seen`."""
        with self.writing() as connection:
            connection.execute(update_run(run, tell=None).where(t.runs.c.tell == seen))
