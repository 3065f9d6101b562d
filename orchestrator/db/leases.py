"""Who may act, until when."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import insert
from orchestrator.db.transactions import Transactions


class Leases(Transactions):
    """Leases, each with a fence that counts its holders."""

    def hold_lease(self, name: str, holder: str, now: float, seconds: float) -> int | None:
        """Take or prolong a lease; its fence, which grows with each new holder, or None while another
        one's runs."""
        expires = now + seconds
        free = sa.or_(t.leases.c.holder == holder, t.leases.c.expires <= now)
        fence = sa.case((t.leases.c.holder == holder, t.leases.c.fence), else_=t.leases.c.fence + 1)
        take = (
            t.leases.update()
            .where(t.leases.c.name == name, free)
            .values(holder=holder, fence=fence, expires=expires)
            .returning(t.leases.c.fence)
        )
        with self.writing() as connection:
            first = insert(connection, t.leases).values(name=name, holder=holder, fence=1, expires=expires)
            connection.execute(first.on_conflict_do_nothing())
            held: int | None = connection.scalar(take)
        return held

    def release_lease(self, name: str, holder: str) -> None:
        """Let another one hold a lease at once."""
        release = t.leases.update().where(t.leases.c.name == name, t.leases.c.holder == holder)
        with self.writing() as connection:
            connection.execute(release.values(expires=0.0))
