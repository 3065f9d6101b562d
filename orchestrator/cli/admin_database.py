"""`axo admin migrate, backup, restore`: the database as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from orchestrator.cli.files import naming
from orchestrator.cli.output import note


@click.command("migrate")
def migrate() -> None:
    """Bring the database to the schema of this axo.

    A service does so by itself with an empty database and with a file of SQLite. A PostgreSQL that has
    something in it waits for this command; take a backup first. Services of the release before go on
    meanwhile.

    \b
    Example:
      axo admin backup before.axo && axo admin migrate
    """
    from orchestrator.db import connected
    from orchestrator.db.migrate import upgrade

    with connected(_url(), 1) as database:
        found, now = upgrade(database)
    if found == now:
        note(f"the database is at {now} already")
    else:
        note(f"the database went from {found or 'nothing'} to {now}")


@click.command("backup", short_help="Write the whole database to a file.")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write all that the database holds at this moment to FILE, while services go on.

    It may be one of an older release, which stays as it is. Storage has its own backup: this file has no
    datasets, checkpoints or adapters.

    \b
    Example:
      axo admin backup axo-monday.axo
    """
    from orchestrator.db import connected, is_there
    from orchestrator.db.backup import back_up
    from orchestrator.errors import NotFoundError

    if not is_there(_url()):
        raise NotFoundError("there is no database yet", hint="AXO_DATABASE or AXO_HOME says where one is")
    with connected(_url(), 1) as database, naming(file):
        _tell(f"{file} holds", back_up(database, file))


@click.command("restore", short_help="Fill an empty database from a backup.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def restore(file: Path) -> None:
    """Fill an empty database from FILE, and bring it to the schema of this axo.

    The file may come from SQLite and go to PostgreSQL, or the other way.

    \b
    Example:
      AXO_DATABASE=postgresql://axo@db/axo axo admin restore axo-monday.axo
    """
    from orchestrator.db import backup as backups
    from orchestrator.db import connected

    with connected(_url(), 1) as database:
        _tell("the database holds", backups.restore(database, file))


def _url() -> str:
    from orchestrator.settings import Settings

    return Settings.from_environment().database_url


def _tell(what: str, rows: Mapping[str, int]) -> None:
    note(f"{what} {', '.join(f'{count:,} {table}' for table, count in rows.items()) or 'nothing'}")
