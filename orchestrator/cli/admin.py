"""`axo admin`: what the operator of a service does, on the machine of its database."""

from __future__ import annotations

import click

from orchestrator.cli import admin_database


@click.group("admin")
def command() -> None:
    """Look after a service: its database.

    These speak to the database that AXO_DATABASE names, not to a service.

    \b
    Examples:
      axo admin backup axo-monday.axo
      axo admin migrate
    """


for each in (admin_database.migrate, admin_database.backup, admin_database.restore):
    command.add_command(each)
