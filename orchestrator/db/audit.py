"""What people changed, in order, and whether that record is whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.chain import BATCH, START, chain_up, digest_of
from orchestrator.db.transactions import Transactions
from orchestrator.db.values import Change, Recorded

_BATCH = 1000


@dataclass(frozen=True)
class Proof:
    """What reading the whole log came to: how many rows are true from the first on, the digest of the
    last of these, and why the next one is not."""

    rows: int
    digest: str
    broken: str | None = None


class Audit(Transactions):
    """The audit log; `Transactions.by` writes it. Who reads it first puts what waits into the chain."""

    def chain_changes(self) -> None:
        """Put the changes that wait into the chain."""
        with self.reading() as connection:
            if connection.scalar(sa.select(t.audit_waiting.c.id).limit(1)) is None:
                return
        done = BATCH
        while done == BATCH:
            with self.writing(recorded=False) as connection:
                done = chain_up(connection)

    def changes(
        self,
        project: str | None = None,
        subject: str | None = None,
        address: str | None = None,
        limit: int = 100,
    ) -> list[Recorded]:
        """The newest changes first: of a project, about a run or key, from an address, as far as given."""
        self.chain_changes()
        query = sa.select(t.audit).order_by(t.audit.c.id.desc()).limit(limit)
        wanted = {t.audit.c.project: project, t.audit.c.subject: subject, t.audit.c.address: address}
        query = query.where(*(column == value for column, value in wanted.items() if value is not None))
        with self.reading() as connection:
            return [_recorded(row) for row in connection.execute(query)]

    def verify_changes(self, noted: str | None = None) -> Proof:
        """Read the whole log; `noted` is a digest that was its last one at some time, so must be in it."""
        self.chain_changes()
        with self.snapshot() as connection:
            head = connection.execute(sa.select(t.audit_head)).one_or_none()
            query = sa.select(t.audit).order_by(t.audit.c.id)
            with connection.execute(query, execution_options={"yield_per": _BATCH}) as rows:
                return _proven((_recorded(row) for row in rows), head, noted)


def _proven(rows: Iterator[Recorded], head: sa.Row[Any] | None, noted: str | None) -> Proof:
    number, digest, seen = 0, START, noted in (None, START)
    for row in rows:
        if fault := _fault(row, number + 1, digest):
            return Proof(number, digest, fault)
        number, digest = row.id, row.digest
        seen = seen or digest == noted
    if head is None or (head.number, head.digest) != (number, digest):
        return Proof(number, digest, "the head of the log tells of other rows after it")
    return Proof(number, digest, None if seen else "no row has the digest that was noted")


def _fault(row: Recorded, number: int, previous: str) -> str | None:
    if row.id != number:
        return f"row {number} is missing"
    if row.previous != previous:
        return f"row {number} does not follow the one before it"
    if digest_of(previous, number, row.change) != row.digest:
        return f"row {number} is not what was written"
    return None


def _recorded(row: sa.Row[Any]) -> Recorded:
    values = dict(row._mapping)
    frame = {name: values.pop(name) for name in ("id", "previous", "digest")}
    return Recorded(**frame, change=Change(**values))
