"""The version of the schema: what this axo needs, what a database has, and how one becomes the other.

A release may add to the schema (a table, an index, a column that may be empty or has a default), so that
the release before goes on working beside it; what only that one used is taken away a release later.
`schema.oldest` is the oldest version whose code may work with the schema as it is: a migration that takes
something away raises it.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from orchestrator.db import tables as t
from orchestrator.db.engine import serialise
from orchestrator.db.transactions import Transactions, take_time
from orchestrator.errors import SettingsError

_MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = sorted(path.name.partition("_")[0] for path in _MIGRATIONS.glob("versions/[0-9]*.py"))
HEAD = VERSIONS[-1]


def version(connection: sa.Connection) -> str | None:
    """The version of a database's schema; None where there is none yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def make_ready(database: Transactions) -> None:
    """See that a database can be worked with: a new one, and one of a single machine, is brought to HEAD.

    Raises:
        SettingsError: it is of another version, and it is the operator's to change that.
    """
    with database.reading() as connection:
        found = version(connection)
        if found == HEAD:
            return
        _refuse_newer(connection, found)
    if found is None or database.engine.dialect.name == "sqlite":
        upgrade(database)
    elif found in VERSIONS:
        raise SettingsError(
            f"the database is at version {found}, this axo needs {HEAD}",
            hint="`axo admin backup FILE`, then `axo admin migrate`",
        )


def upgrade(database: Transactions, to: str = HEAD) -> tuple[str | None, str]:
    """Bring a database to a version, in one transaction; the version it had, and the one it has.

    Raises:
        SettingsError: it is too new for this axo.
    """
    with database.writing() as connection:
        serialise(connection, "migrate")
        found = version(connection)
        _refuse_newer(connection, found)
        if found is None or found < to:
            run_alembic(connection, to)
            return found, to
        return found, found


def _refuse_newer(connection: sa.Connection, found: str | None) -> None:
    """Refuse a schema that a newer axo made, unless it says that ours may work with it."""
    if found is None or found in VERSIONS:
        return
    oldest = connection.scalar(sa.select(t.schema.c.oldest))
    if oldest is None or oldest > HEAD:
        raise SettingsError(
            f"the database is at version {found}, made by a newer axo; this one knows up to {HEAD}",
            hint="use the newer axo, or `axo admin restore` a backup into a new database",
        )


def run_alembic(connection: sa.Connection, to: str) -> None:
    """Run the migrations up to a version, in the transaction of a connection; no limit on time holds for what
    is left of it."""
    take_time(connection)
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    command.upgrade(config, to)
