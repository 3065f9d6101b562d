"""Who may act, until when.

A lease is timed by the database's clock alone, so it does not matter what the clocks of those who want
it say. A holder that was away for longer cannot do harm: what it writes under its lease is refused by
the fence, which grows with each new holder (`Transactions.under`).
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Lease


class Leases(Transactions):
    """Leases, each with a fence that counts its holders."""

    def hold_lease(self, name: str, holder: str, seconds: float) -> Lease | None:
        """Take or prolong a lease for some seconds from now; None while another one's runs.

        A lease that ends later than any could end was written before the clock was set back: it is free.
        """
        now = _DatabaseTime()
        mine = t.leases.c.holder == holder
        over = sa.or_(t.leases.c.expires <= now, t.leases.c.expires > now + 2 * seconds)
        fence = sa.case((mine, t.leases.c.fence), else_=t.leases.c.fence + 1)
        take = (
            t.leases.update()
            .where(t.leases.c.name == name, sa.or_(mine, over))
            .values(holder=holder, fence=fence, expires=now + seconds)
            .returning(t.leases.c.fence)
        )
        with self.writing() as connection:
            first = insert(connection, t.leases).values(
                name=name, holder=holder, fence=1, expires=now + seconds
            )
            connection.execute(first.on_conflict_do_nothing())
            held: int | None = connection.scalar(take)
        return Lease(name, holder, held) if held is not None else None

    def is_lease_held(self, name: str) -> bool:
        """Whether anybody holds a lease now."""
        held = (t.leases.c.name == name, t.leases.c.expires > _DatabaseTime())
        with self.reading() as connection:
            return connection.scalar(sa.select(t.leases.c.fence).where(*held)) is not None

    def release_lease(self, lease: Lease) -> None:
        """Let another one hold a lease at once."""
        held = (t.leases.c.name == lease.name, t.leases.c.fence == lease.fence)
        with self.writing() as connection:
            connection.execute(t.leases.update().where(*held).values(expires=0.0))


class _DatabaseTime(FunctionElement[float]):
    """Seconds since 1970 by the clock of the database."""

    type = sa.Float()
    inherit_cache = True


@compiles(_DatabaseTime, "sqlite")
def _sqlite_time(_element: _DatabaseTime, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_DatabaseTime, "postgresql")
def _postgresql_time(_element: _DatabaseTime, _compiler: Any, **_: Any) -> str:
    return "extract(epoch from clock_timestamp())::float8"
