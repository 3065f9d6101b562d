"""What this service remembers: runs, launches, metric points, publications, events.

Every method is one transaction. Values in and out are frozen dataclasses; times are seconds
since 1970 and come in as arguments. A subject has a module of its own, `tables` all tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from orchestrator.db.due import Due
from orchestrator.db.engine import make_engine
from orchestrator.db.events import Events
from orchestrator.db.launches import Launches
from orchestrator.db.leases import Leases
from orchestrator.db.metrics import Metrics
from orchestrator.db.migrate import HEAD, migrate, revision
from orchestrator.db.publications import Publications
from orchestrator.db.runs import Runs
from orchestrator.db.submissions import Submissions
from orchestrator.db.values import Attempt, Event, Launch, Point, Publication, Run

__all__ = [
    "Attempt",
    "Database",
    "Event",
    "Launch",
    "Point",
    "Publication",
    "Run",
    "open_database",
    "opened",
]


class Database(Submissions, Runs, Due, Launches, Metrics, Publications, Events, Leases):
    """Everything that is remembered, each subject's methods side by side."""

    def check(self) -> None:
        """Whether the database answers."""
        with self.reading() as connection:
            connection.execute(sa.select(1))

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str) -> Database:
    """The database at a URL, migrated to this version: `sqlite:///<path>`."""
    database = Database(make_engine(url))
    with database.writing() as connection:
        if revision(connection) != HEAD:
            migrate(connection)
    return database


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """A database for the length of a `with` block."""
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()
