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

START = "0" * 64  # what stands before the first row


def append(connection: sa.Connection, change: Change) -> None:
    """Add a row to the log. The head stays locked until the transaction ends, so this is its last step."""
    head = connection.execute(sa.select(t.audit_head.c.number, t.audit_head.c.digest).with_for_update()).one()
    number = head.number + 1
    digest = digest_of(head.digest, number, change)
    values = {"id": number, **dataclasses.asdict(change), "previous": head.digest, "digest": digest}
    connection.execute(t.audit.insert().values(values))
    connection.execute(t.audit_head.update().values(number=number, digest=digest))


def digest_of(previous: str, number: int, change: Change) -> str:
    """SHA-256 of a row: JSON of the digest before it, its number and what it tells."""
    told = [previous, number, *dataclasses.astuple(change)]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()
