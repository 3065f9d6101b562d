"""What every part of the database stands on: a transaction to read in, and one to write in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Self

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.chain import append
from orchestrator.db.values import Change, Lease
from orchestrator.errors import ConflictError, DatabaseError

_log = logging.getLogger(__name__)

# What PostgreSQL's conditions mean here (its manual, appendix A).
_CONDITIONS = {
    "25006": "the database takes no writes now",
    "40001": "the database is too busy",
    "40P01": "the database is too busy",
    "53100": "the database's disk is full",
    "53300": "the database has no connection left",
    "55P03": "the database is too busy",
    "57014": "the database is too busy",
}
_OURS = (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.NotSupportedError)
_OTHER = "let AXO_DATABASE name another file, or restore this one from a backup"
_AGAIN = "try again; `axo doctor` looks at the database"


class LeaseLost(ConflictError):
    """Somebody else holds the lease, so nothing more may be written under it."""


class Transactions:
    """An engine and how its transactions begin. `engine` is only for tests and migrations."""

    def __init__(
        self,
        engine: sa.Engine,
        lease: Lease | None = None,
        turn: threading.Lock | None = None,
        change: Change | None = None,
    ) -> None:
        self.engine = engine
        self._writer = engine.execution_options(write=True)
        # One statement needs no transaction around it, which would be two more ways to PostgreSQL and back.
        alone = engine.dialect.name == "postgresql"
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT") if alone else engine
        self._lease, self._change = lease, change
        # SQLite's writers try again and again until they get in, and one of them may never; our own threads
        # wait for their turn before it.
        self._turn = turn or threading.Lock()
        self._one_writer = engine.dialect.name == "sqlite"

    def under(self, lease: Lease) -> Self:
        """The same database, whose every write raises LeaseLost once somebody else has held the lease."""
        return type(self)(self.engine, lease, self._turn, self._change)

    def by(self, change: Change) -> Self:
        """The same database, whose every write is also written to the audit log as this change."""
        return type(self)(self.engine, self._lease, self._turn, change)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for one statement that changes nothing.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        with _told(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, recorded: bool = True) -> Iterator[sa.Connection]:
        """A connection whose changes are all kept at the end of the block, or none of them.

        Where it is `by` somebody, their change is recorded at the end; not with `recorded` off, for a
        block that calls `record` where it does change something.

        Raises:
            DatabaseError: the database cannot be used now; a block that got to its end may have been kept.
            LeaseLost: it is under a lease that another one has held since.
        """
        with _told(), self._turn if self._one_writer else nullcontext(), self._writer.begin() as connection:
            if self._lease is not None:
                _check(connection, self._lease)
            yield connection
            if recorded:
                self.record(connection)

    def record(self, connection: sa.Connection) -> None:
        """Write what is done to the audit log, where somebody does it."""
        if self._change is not None:
            append(connection, self._change)

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees everything as it was at one moment, for as long as it takes.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        with _told(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            take_time(connection)
            yield connection

    def check_lease(self) -> None:
        """Raises LeaseLost where somebody else has held the lease since; no lease, nothing to lose."""
        if self._lease is not None:
            with self.reading() as connection:
                _check(connection, self._lease)


def take_time(connection: sa.Connection) -> None:
    """Let a transaction last as long as it takes, also between its statements, while a disk is slow say."""
    if connection.dialect.name == "postgresql":
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(sa.text(f"SET LOCAL {limit} = 0"))


def _check(connection: sa.Connection, lease: Lease) -> None:
    """A writer's own lock holds the row as it is until the changes are kept: SQLite's write lock, which
    it has already, elsewhere a share of the row's."""
    query = sa.select(t.leases.c.fence).where(t.leases.c.name == lease.name)
    if connection.scalar(query.with_for_update(read=True)) != lease.fence:
        raise LeaseLost(f"somebody else holds the lease {lease.name}")


@contextmanager
def _told() -> Iterator[None]:
    """Say in our words that a database is away; where it is stays in the log."""
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise DatabaseError("every connection to the database is in use", hint=_AGAIN) from error
    except sa.exc.DBAPIError as error:
        if isinstance(error, _OURS):
            raise
        said = _sentence(error)
        if str(error.orig) not in said:
            _log.warning("the database cannot be used: %s", error.orig)
        raise DatabaseError(said, hint=_OTHER if _is_no_database(error) else _AGAIN) from error


def _is_no_database(error: sa.exc.DBAPIError) -> bool:
    """Whether SQLite finds that a file is none of its own, or is damaged: trying again helps nobody."""
    return getattr(error.orig, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CORRUPT")


def _sentence(error: sa.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if type(error.orig).__module__.startswith("sqlite3"):
        return f"the database cannot be used: {error.orig}"
    return _CONDITIONS.get(state or "", "the database cannot be reached")
