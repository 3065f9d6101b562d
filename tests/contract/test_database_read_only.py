"""A database that takes no writes for a while, as one does whose place a copy of it has taken."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from orchestrator.access.keys import key_digest, make_key
from orchestrator.db import Database, Key
from orchestrator.errors import DatabaseError
from orchestrator.service import Access, Role


def test_who_holds_a_key_is_known_all_the_same(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    fresh = make_key()
    key = Key(fresh.id, "ours", "ci", "viewer", key_digest(fresh.text), 1.0, "me")
    database.add_key(key)
    take_no_writes(database)
    with pytest.raises(DatabaseError):
        database.revoke_key(key.id, 50.0)
    with caplog.at_level(logging.WARNING):
        caller = Access(database, lambda: 100.0).caller(fresh.text)
    assert (caller.project, caller.role, caller.name) == ("ours", Role.VIEWER, f"ci/{key.id}")
    assert f"that the key {key.id} was used" in caplog.text
    assert database.keys("ours") == [key]


def take_no_writes(database: Database) -> None:
    if database.engine.dialect.name == "postgresql":
        name = database.engine.url.database
        with database.writing() as connection:
            connection.execute(sa.text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    else:
        sa.event.listen(database.engine, "connect", lambda each, _: each.execute("PRAGMA query_only = ON"))
    database.engine.dispose()
