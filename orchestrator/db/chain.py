"""The chain that the audit log is: each row has the digest of the one before it in its own.

Whoever changes, adds or takes away a row without making all later ones anew breaks the chain where they
did; the head tells how many rows there are, so that the last ones cannot be taken away unseen either.
Whoever can write the whole database can make a whole chain: a digest noted elsewhere proves what was
there when it was noted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.values import Change

BATCH = 1000
_WAIT = t.audit_waiting.insert()
START = "0" * 64  # what stands before the first row


def append(connection: sa.Connection, change: Change) -> None:
    """Have a change put into the log, with the transaction that makes it.

    It waits there for `chain_up`: writers that took their place in the chain themselves would each wait
    until the one before them is on the disk.
    """
    connection.execute(_WAIT, vars(change))


def chain_up(connection: sa.Connection) -> int:
    """Put the changes that wait into the chain; how many. The head lets one writer at a time do so."""
    head = connection.execute(sa.select(t.audit_head.c.number, t.audit_head.c.digest).with_for_update()).one()
    wait = t.audit_waiting
    waiting = connection.execute(sa.select(wait).order_by(wait.c.id).limit(BATCH)).all()
    if not waiting:
        return 0
    rows, number, previous = [], head.number, head.digest
    for row in waiting:
        number += 1
        values = {name: value for name, value in row._mapping.items() if name != "id"}
        digest = digest_of(previous, number, Change(**values))
        rows.append({"id": number, **values, "previous": previous, "digest": digest})
        previous = digest
    connection.execute(t.audit.insert(), rows)
    connection.execute(wait.delete().where(wait.c.id.in_([row.id for row in waiting])))
    connection.execute(t.audit_head.update().values(number=number, digest=previous))
    return len(rows)


def digest_of(previous: str, number: int, change: Change) -> str:
    """SHA-256 of a row: JSON of the digest before it, its number and what it tells.

    A row that has no address was written before one was kept, and is told without it, as it was then.
    """
    values = dataclasses.astuple(change)
    told = [previous, number, *(values[:-1] if change.address is None else values)]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()
