"""Temporary runs: warned of, then rid of their files; a pin keeps them."""

from __future__ import annotations

import dataclasses
from typing import Any

import sqlalchemy as sa

from orchestrator import contract
from orchestrator.db import tables as t
from orchestrator.db.deletions import check_unused, note_removal
from orchestrator.db.events import add_event
from orchestrator.db.rows import FINAL, to_run, update_run
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Run
from orchestrator.errors import ConflictError
from orchestrator.reasons import Reason

_HELD = (t.runs.c.temporary, t.runs.c.expired.is_(None), sa.not_(t.runs.c.pinned))


class Retention(Transactions):
    """What is kept, and until when."""

    def to_warn_of(self, ended: float, limit: int) -> list[Run]:
        """The temporary runs that had ended by then, and nobody was warned of."""
        return self._held(t.runs.c.expires.is_(None), t.runs.c.ended <= ended, limit=limit)

    def to_expire(self, now: float, limit: int) -> list[Run]:
        """The temporary runs whose time is over by now."""
        return self._held(t.runs.c.expires <= now, limit=limit)

    def warn(self, run: Run, expires: float, message: str, now: float) -> None:
        """Say when the files of a temporary run go."""
        with self.writing() as connection:
            _changed(connection, run, Reason.EXPIRES, message, now, expires=expires)

    def expire(self, run: Run, message: str, now: float) -> bool:
        """Say that the files of a run are gone, and note that they are to go; False where they are kept,
        since somebody has pinned it or trains on from its adapter."""
        with self.writing() as connection:
            try:
                check_unused(connection, run)
            except ConflictError:
                return False
            if not _changed(connection, run, Reason.EXPIRED, message, now, expired=now, stored=0):
                return False
            for folder in (contract.ADAPTER, contract.CHECKPOINTS):
                note_removal(connection, run.storage, f"{contract.run_key(run.id)}/{folder}", now)
        return True

    def pin(self, run: Run, message: str, now: float, *, pinned: bool) -> Run:
        """Keep the files of a run, whatever its spec says, or no longer; a warning is given anew then.

        Raises:
            ConflictError: they are gone.
        """
        there = update_run(run.id, pinned=pinned, expires=None, updated=now)
        with self.writing() as connection:
            if connection.execute(there.where(t.runs.c.expired.is_(None))).rowcount == 0:
                raise ConflictError(f"the files of {run.id} were removed", hint=f"`axo clone {run.id}`")
            add_event(connection, run.id, now, run.status, None, message)
        return dataclasses.replace(run, pinned=pinned, expires=None, updated=now)

    def _held(self, *which: sa.ColumnElement[bool], limit: int) -> list[Run]:
        query = sa.select(t.runs).where(*_HELD, t.runs.c.status.in_(FINAL), *which)
        with self.reading() as connection:
            return [to_run(row) for row in connection.execute(query.order_by(t.runs.c.ended).limit(limit))]


def _changed(
    connection: sa.Connection, run: Run, reason: Reason, message: str, now: float, **changes: Any
) -> bool:
    """Write what becomes of a run, with an event, unless it was pinned or warned of anew meanwhile."""
    same = (*_HELD, t.runs.c.expires.is_not_distinct_from(run.expires))
    if connection.execute(update_run(run.id, updated=now, **changes).where(*same)).rowcount == 0:
        return False
    add_event(connection, run.id, now, run.status, reason, message)
    return True
