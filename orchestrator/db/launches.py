"""The launches we decided on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from orchestrator.contract import StepKind
from orchestrator.db import tables as t
from orchestrator.db.rows import hold_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Launch


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
                Launch(row.number, row.step, row.micro_batch_size, row.created)
                for row in connection.execute(query)
            ]


def _highest_launch(run: str) -> sa.Select[Any]:
    return sa.select(sa.func.max(t.launches.c.number)).where(t.launches.c.run == run)
