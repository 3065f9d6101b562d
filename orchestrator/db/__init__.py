"""What this service remembers: runs, launches, metric points, publications, events.

Every method is one transaction. Values in and out are frozen dataclasses; times are seconds
since 1970 and come in as arguments. A subject has a module of its own, `tables` all tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from orchestrator.db.audit import Audit, Proof
from orchestrator.db.datasets import Datasets
from orchestrator.db.deletions import Deletions
from orchestrator.db.due import Due
from orchestrator.db.engine import is_postgresql, make_engine, parse_url, shown
from orchestrator.db.events import Events
from orchestrator.db.files import Files
from orchestrator.db.keys import Keys
from orchestrator.db.launches import Launches
from orchestrator.db.leases import Leases
from orchestrator.db.mappings import Mappings
from orchestrator.db.metrics import Metrics
from orchestrator.db.migrate import make_ready
from orchestrator.db.publications import Publications
from orchestrator.db.retention import Retention
from orchestrator.db.runs import RunMoved, Runs
from orchestrator.db.submissions import Submissions
from orchestrator.db.transactions import LeaseLost
from orchestrator.db.usage import Usage
from orchestrator.db.values import (
    Attempt,
    Change,
    Dataset,
    DeletedRun,
    Event,
    File,
    Key,
    Launch,
    Lease,
    Listed,
    Look,
    NamedMapping,
    Point,
    Publication,
    Recorded,
    Removal,
    Run,
    Series,
    Standing,
    Version,
)
from orchestrator.defaults import DATABASE_CONNECTIONS

__all__ = [
    "Attempt",
    "Change",
    "Database",
    "Dataset",
    "DeletedRun",
    "Event",
    "File",
    "Key",
    "Launch",
    "Lease",
    "LeaseLost",
    "Listed",
    "Look",
    "NamedMapping",
    "Point",
    "Proof",
    "Publication",
    "Recorded",
    "Removal",
    "Run",
    "RunMoved",
    "Series",
    "Standing",
    "Version",
    "connected",
    "is_there",
    "open_database",
    "opened",
    "shown",
]


class Database(
    Submissions,
    Runs,
    Deletions,
    Retention,
    Usage,
    Due,
    Launches,
    Metrics,
    Publications,
    Events,
    Files,
    Datasets,
    Mappings,
    Leases,
    Keys,
    Audit,
):
    """Everything that is remembered, each subject's methods side by side."""

    def check(self) -> None:
        """Whether the database answers."""
        with self.reading() as connection:
            connection.execute(sa.select(1))

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str, connections: int = DATABASE_CONNECTIONS) -> Database:
    """The database at a URL (`engine.parse_url` has their forms), of this version's schema.

    A PostgreSQL is asked over that many connections at most.

    Raises:
        SettingsError: the URL is none of ours, or the schema is of another version.
        DatabaseError: the database cannot be used now.
    """
    database = Database(make_engine(url, connections))
    try:
        make_ready(database)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def opened(url: str, connections: int = DATABASE_CONNECTIONS) -> Iterator[Database]:
    """A database for the length of a `with` block; raises as `open_database` does."""
    with connected(url, connections) as database:
        make_ready(database)
        yield database


@contextmanager
def connected(url: str, connections: int = DATABASE_CONNECTIONS) -> Iterator[Database]:
    """A database of whatever schema it has, for the length of a `with` block."""
    database = Database(make_engine(url, connections))
    try:
        yield database
    finally:
        database.close()


def is_there(url: str) -> bool:
    """Whether there is a database to open; opening a file that is not there would make it."""
    parsed = parse_url(url)
    return is_postgresql(parsed) or Path(parsed.database or "").exists()
