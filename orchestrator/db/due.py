"""When the controller must look at which run next, and tell MLflow of which."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.rows import update_run
from orchestrator.db.telling import waits_since
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Look, Standing
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status

_LOOK = sa.select(t.runs.c.id, t.runs.c.look)
_QUEUED = sa.and_(t.runs.c.status == Status.QUEUED.value, t.runs.c.intent == Intent.RUN.value)


def _newest(table: sa.Table) -> sa.ColumnElement[bool]:
    """Of the rows of a run, the one with the highest number."""
    same = table.alias()
    highest = sa.select(sa.func.max(same.c.number)).where(same.c.run == t.runs.c.id).scalar_subquery()
    return sa.and_(table.c.run == t.runs.c.id, table.c.number == highest)


_STANDING = (
    sa.select(
        *(t.runs.c[name] for name in ("id", "storage", "status", "reason", "message")),
        t.launches.c.number,
        t.launches.c.step,
        t.attempts.c.number.label("attempt"),
        t.attempts.c.launch.label("of_launch"),
        t.attempts.c.started,
        t.attempts.c.offset,
    )
    .select_from(t.runs.join(t.launches, _newest(t.launches)).outerjoin(t.attempts, _newest(t.attempts)))
    .where(t.runs.c.look.is_not(None), t.runs.c.intent == Intent.RUN.value)
)


class Due(Transactions):
    """The times in `runs.look` and `runs.tell`."""

    def due(self, now: float, limit: int) -> list[Look]:
        """The runs that the controller must look at by now, those that have waited longest first."""
        return self._looks(_LOOK.where(t.runs.c.look <= now).order_by(t.runs.c.look).limit(limit))

    def due_beside_the_queue(self, now: float, limit: int) -> list[Look]:
        """The same, but for those that only wait for their first launch."""
        query = _LOOK.where(t.runs.c.look <= now, sa.not_(_QUEUED))
        return self._looks(query.order_by(t.runs.c.look).limit(limit))

    def next_of_the_queue(self, now: float, limit: int) -> list[Look]:
        """Those that wait for their first launch, oldest first, one of each project in turn."""
        place = sa.func.row_number().over(
            partition_by=t.runs.c.project, order_by=(t.runs.c.look, t.runs.c.id)
        )
        query = _LOOK.where(t.runs.c.look <= now, _QUEUED).order_by(place, t.runs.c.look)
        return self._looks(query.limit(limit))

    def _looks(self, query: sa.Select[Any]) -> list[Look]:
        with self.reading() as connection:
            return [Look(run, look) for run, look in connection.execute(query)]

    def standing(self) -> list[Standing]:
        """All runs that have a launch and are to go on, as their last looks left them."""
        with self.reading() as connection:
            return [
                Standing(
                    run=row.id,
                    storage=row.storage,
                    status=Status(row.status),
                    reason=Reason(row.reason) if row.reason else None,
                    message=row.message,
                    launch=row.number,
                    step=row.step,
                    attempt=row.attempt or 0,
                    claimed=row.of_launch == row.number,
                    started=row.of_launch == row.number and row.started is not None,
                    offset=row.offset or 0,
                )
                for row in connection.execute(_STANDING)
            ]

    def lag(self, now: float) -> tuple[float, float]:
        """Seconds since the first of the due runs was to be looked at, and since MLflow was to be told."""
        query = sa.select(
            sa.func.min(t.runs.c.look), sa.func.min(sa.case((t.runs.c.tell > 0, t.runs.c.tell)))
        )
        with self.reading() as connection:
            look, tell = connection.execute(query).one()
        return max(0.0, now - (look or now)), max(0.0, now - (tell or now))

    def last_change_ahead(self) -> float | None:
        """When a run with something before it changed last; None where none has."""
        query = sa.select(sa.func.max(t.runs.c.updated)).where(t.runs.c.look.is_not(None))
        with self.reading() as connection:
            changed: float | None = connection.scalar(query)
        return changed

    def look_again(self, run: str, seen: float | None, look: float | None) -> None:
        """Say when to look at a run again, unless somebody has wanted something of it since `seen`."""
        query = update_run(run, look=look).where(t.runs.c.look.is_not_distinct_from(seen))
        with self.writing() as connection:
            connection.execute(query)

    def bring_forward(self, now: float, beyond: float) -> None:
        """Have those runs looked at, and MLflow told of those, that were put off to a time `beyond`: the
        clock was set back since."""
        with self.writing() as connection:
            connection.execute(t.runs.update().where(t.runs.c.look > beyond).values(look=now))
            connection.execute(t.runs.update().where(t.runs.c.tell > beyond).values(tell=now))

    def to_tell(self, now: float) -> dict[str, float]:
        """The runs that MLflow must be told of by now, and since when, those that have waited longest first;
        a number below 0 where there is nothing but points."""
        query = sa.select(t.runs.c.id, t.runs.c.tell).where(t.runs.c.tell <= now).order_by(waits_since())
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
