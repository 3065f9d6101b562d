"""What every part of the database stands on: a transaction to read in, and one to write in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from orchestrator.errors import DatabaseError

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
_AGAIN = "try again; `axo doctor` looks at the database"


class Transactions:
    """An engine and how its transactions begin. `engine` is only for tests and migrations."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(write=True)
        # One statement needs no transaction around it, which would be two more ways to PostgreSQL and back.
        alone = engine.dialect.name == "postgresql"
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT") if alone else engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for one statement that changes nothing.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        with _told(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection whose changes are all kept at the end of the block, or none of them.

        Raises:
            DatabaseError: the database cannot be used now; a block that got to its end may have been kept.
        """
        with _told(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees everything as it was at one moment, for as long as it takes.

        Raises:
            DatabaseError: the database cannot be used now.
        """
        with _told(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            yield connection


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
        _log.warning("the database cannot be used: %s", error.orig)
        raise DatabaseError(_sentence(error), hint=_AGAIN) from error


def _sentence(error: sa.exc.DBAPIError) -> str:
    state = getattr(error.orig, "sqlstate", None)
    if type(error.orig).__module__.startswith("sqlite3"):
        return f"the database cannot be used: {error.orig}"
    return _CONDITIONS.get(state or "", "the database cannot be reached")
