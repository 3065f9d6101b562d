"""How a database is reached, and what differs between SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.db.columns import write_json
from orchestrator.errors import SettingsError

BUSY_SECONDS = 30  # that a writer of SQLite waits for the one before it
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "axo",
    # Nothing here takes long, and who waits longer holds a thread that others need. Who sleeps within a
    # transaction may be a controller that another one wants to follow.
    "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=5s",
}
RECYCLE_SECONDS = 1800  # age at which a connection is made anew, so that none outlives a failover for long
REST_SECONDS = 1  # after which a connection is asked whether it lives; before, that costs more than it saves
POOL_SECONDS = 10  # that a thread waits for a connection while all are in use


INSERTS: Mapping[str, Callable[[sa.Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
_HOLD = sa.text("SELECT pg_advisory_xact_lock(:number)")


def make_engine(url: str, connections: int) -> sa.Engine:
    """The engine of a database, with as many connections as a PostgreSQL is given at most.

    Raises:
        SettingsError: the URL is not one of ours.
    """
    parsed = parse_url(url)
    if is_postgresql(parsed):
        return _postgresql(parsed, connections)
    return _sqlite(parsed)


def parse_url(url: str) -> sa.URL:
    """What `sqlite:///<path>` or `postgresql://<user>:<password>@<host>/<database>` says.

    Raises:
        SettingsError: it is neither.
    """
    hint = "AXO_DATABASE is sqlite:///<path> or postgresql://<user>:<password>@<host>/<database>"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # whose message would show the password
        raise SettingsError("the database's URL cannot be read", hint=hint) from None
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and parsed.database:
        return parsed
    raise SettingsError(f"{parsed.drivername!r} is no kind of database that axo knows", hint=hint)


def shown(url: str) -> str:
    """A database as it may be shown: a file's path, or a URL without its password."""
    parsed = parse_url(url)
    return (
        parsed.set(drivername="postgresql").render_as_string()
        if is_postgresql(parsed)
        else str(parsed.database)
    )


def is_postgresql(url: sa.URL) -> bool:
    return url.get_backend_name() == "postgresql"


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that can say what is to be done where the row is there already."""
    return INSERTS[connection.dialect.name](table)


def serialise(connection: sa.Connection, *words: str) -> None:
    """Let one transaction at a time go on that says these words; the others wait for its end.

    Writers of SQLite are one at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
        number = int.from_bytes(digest, signed=True)
        connection.execute(_HOLD, {"number": number})


def _postgresql(url: sa.URL, connections: int) -> sa.Engine:
    if find_spec("psycopg") is None:
        hint = "pip install 'axo-orchestrator[postgres]'"
        raise SettingsError("PostgreSQL needs psycopg, which is not installed", hint=hint)
    engine = sa.create_engine(
        url,
        connect_args=_POSTGRESQL,
        json_serializer=write_json,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
    )
    sa.event.listen(engine, "checkin", _remember_use)
    sa.event.listen(engine, "checkout", partial(_prove_alive, engine.dialect))
    return engine


def _remember_use(_: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _prove_alive(
    dialect: sa.Dialect, connection: Any, record: sa.pool.ConnectionPoolEntry, _: sa.PoolProxiedConnection
) -> None:
    """Ask a connection that has rested whether its server is there; the pool makes a failed one anew."""
    if time.monotonic() - record.info.get("used", time.monotonic()) > REST_SECONDS:
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error


def _sqlite(url: sa.URL) -> sa.Engine:
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, json_serializer=write_json, connect_args={"timeout": BUSY_SECONDS})
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's own BEGIN, not the driver's
    _use_wal(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any) -> None:
    """Have a write-ahead log. While several open a new file at once, SQLite refuses that without waiting."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    """A writer takes the write lock at once: two that read first and write later would deadlock."""
    writes = connection.get_execution_options().get("write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
