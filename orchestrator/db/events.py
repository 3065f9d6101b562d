"""What happened to runs, in order."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Event, Run
from orchestrator.reasons import Reason
from orchestrator.runs import Status

MOST_EVENTS = 500  # of a run, that each stand for themselves

_ADD = t.events.insert()
_OF_RUN = sa.select(sa.func.count()).select_from(t.events).where(t.events.c.run == sa.bindparam("of"))
_LIKE = (
    sa.select(t.events.c.id, t.events.c.time, t.events.c.count, t.events.c.since)
    .where(t.events.c.run == sa.bindparam("of"), t.events.c.status == sa.bindparam("is"))
    .where(t.events.c.reason.is_not_distinct_from(sa.bindparam("for", type_=sa.String)))
    .where(_OF_RUN.scalar_subquery() >= sa.bindparam("most"))
    .order_by(t.events.c.id.desc())
    .limit(1)
)
_CHANGING = ("id", "updated", "intent", "step", "total_steps", "loss", "lost_steps", "mlflow_url", "tracked")


class Events(Transactions):
    """Events. Ids grow within a run; those of different runs may come to be seen in another order.

    A run that has `MOST_EVENTS` of them goes on in the place of its last one of the same status and reason,
    under a new id and counted: so a run that goes to and fro for weeks has an end of them, and whoever
    follows it still hears each.
    """

    def events(self, run: str, after: int = 0, limit: int = 1000) -> list[Event]:
        """The events of a run that came after the one of that id, oldest first."""
        query = sa.select(t.events).where(t.events.c.run == run, t.events.c.id > after)
        with self.reading() as connection:
            rows = connection.execute(query.order_by(t.events.c.id).limit(limit)).mappings()
            return [Event(**row) for row in rows]

    def marks(self, runs: Sequence[str]) -> dict[str, tuple[object, ...]]:
        """A value for each of these runs that is another one whenever something of the run changed."""
        newest = sa.select(t.events.c.run, sa.func.max(t.events.c.id)).where(t.events.c.run.in_(runs))
        standing = sa.select(*(t.runs.c[name] for name in _CHANGING)).where(t.runs.c.id.in_(runs))
        with self.reading() as connection:
            ids = {row[0]: row[1] for row in connection.execute(newest.group_by(t.events.c.run))}
        with self.reading() as connection:
            return {row.id: (*row, ids.get(row.id)) for row in connection.execute(standing)}


def add_event(
    connection: sa.Connection, run: str, now: float, status: Status, reason: Reason | None, message: str
) -> None:
    """Say that something happened, in a transaction that has written the run's row before.

    So the next event of this run waits for this one to be there, and no reader goes past one that is to come.
    """
    values = _values(run, now, status, reason, message)
    like = connection.execute(
        _LIKE, {"of": run, "is": status, "for": reason, "most": MOST_EVENTS}
    ).one_or_none()
    if like is None:
        connection.execute(_ADD, values)
        return
    number, time, count, since = like
    connection.execute(_ADD, {**values, "count": count + 1, "since": time if since is None else since})
    connection.execute(t.events.delete().where(t.events.c.id == number))  # last, or SQLite gives its id again


def add_first_event(connection: sa.Connection, run: Run) -> None:
    """Say that a run was submitted, in the transaction that has written its row."""
    connection.execute(_ADD, _values(run.id, run.created, run.status, run.reason, run.message))


def _values(
    run: str, now: float, status: Status, reason: Reason | None, message: str
) -> dict[str, str | float | None]:
    return {"run": run, "time": now, "status": status, "reason": reason, "message": message}
