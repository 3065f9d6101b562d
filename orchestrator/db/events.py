"""What happened to runs, in order."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Event
from orchestrator.runs import Reason, Status

_ADD = t.events.insert()
_CHANGING = ("id", "updated", "intent", "step", "total_steps", "loss", "lost_steps", "mlflow_url", "tracked")


class Events(Transactions):
    """Events. Ids grow within a run; those of different runs may come to be seen in another order."""

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
    values = {"run": run, "time": now, "status": status, "reason": reason, "message": message}
    connection.execute(_ADD, values)
