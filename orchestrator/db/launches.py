"""The launches we decided on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.contract import StepKind
from orchestrator.db import tables as t
from orchestrator.db.rows import hold_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Launch
from orchestrator.runs import Status

_REPORTING = [Status.WAITING.value, Status.TRAINING.value]
_LATER = t.launches.alias()
_TRAINS = (
    sa.select(t.launches.c.run, t.launches.c.number)
    .join(t.runs, t.runs.c.id == t.launches.c.run)
    .where(t.runs.c.status.in_(_REPORTING))
    .where(~sa.exists().where(_LATER.c.run == t.launches.c.run, _LATER.c.number > t.launches.c.number))
)  # made once: every report asks
_OF_TOKEN = _TRAINS.where(t.launches.c.token == sa.bindparam("digest"))
_OF_NAME = _TRAINS.where(
    t.launches.c.run == sa.bindparam("run"), t.launches.c.number == sa.bindparam("number")
)


class Launches(Transactions):
    """Launches, numbered from one within their run."""

    def add_launch(self, run: str, step: StepKind, micro_batch_size: int | None, now: float) -> int:
        """Decide on the next launch; its number."""
        with self.writing() as connection:
            hold_run(connection, run)
            highest: int | None = connection.scalar(_highest_launch(run))
            number = (highest or 0) + 1
            values = {"run": run, "number": number, "step": step, "micro_batch_size": micro_batch_size}
            connection.execute(t.launches.insert().values(**values, created=now))
        return number

    def launches(self, run: str) -> list[Launch]:
        """The launches of a run, oldest first."""
        query = sa.select(t.launches).where(t.launches.c.run == run).order_by(t.launches.c.number)
        with self.reading() as connection:
            return [
                Launch(row.number, row.step, row.micro_batch_size, row.created, row.stalled)
                for row in connection.execute(query)
            ]

    def mark_stalled(self, run: str, number: int, now: float) -> None:
        """Remember that a launch is stopped since it makes no progress."""
        mine = [t.launches.c.run == run, t.launches.c.number == number, t.launches.c.stalled.is_(None)]
        with self.writing() as connection:
            connection.execute(t.launches.update().where(*mine).values(stalled=now))

    def let_report(self, run: str, number: int, digest: str) -> None:
        """Let the holder of the token with that SHA-256 report for a launch."""
        mine = [t.launches.c.run == run, t.launches.c.number == number]
        with self.writing() as connection:
            connection.execute(t.launches.update().where(*mine).values(token=digest))

    def reporter(self, digest: str) -> tuple[str, int] | None:
        """The run and the number of the launch that reports with the token of that SHA-256, while it may."""
        with self.reading() as connection:
            row = connection.execute(_OF_TOKEN, {"digest": digest}).one_or_none()
        return (row.run, row.number) if row else None

    def reports(self, run: str, number: int) -> bool:
        """Whether a launch may report: the newest of its run, which waits for it to train or trains."""
        with self.reading() as connection:
            return connection.execute(_OF_NAME, {"run": run, "number": number}).one_or_none() is not None


def _highest_launch(run: str) -> sa.Select[Any]:
    return sa.select(sa.func.max(t.launches.c.number)).where(t.launches.c.run == run)
