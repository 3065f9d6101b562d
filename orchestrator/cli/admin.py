"""`axo admin`: what the operator of a service does, on the machine of its database."""

from __future__ import annotations

import click

from orchestrator.cli import admin_audit, admin_database, admin_keys


@click.group("admin")
def command() -> None:
    """Look after a service: its keys, its audit log, its database.

    These speak to the database that AXO_DATABASE names, not to a service.

    \b
    Examples:
      axo admin keys create ops --role admin
      axo admin audit verify
      axo admin backup axo-monday.axo
    """


for each in (
    admin_keys.keys,
    admin_audit.audit,
    admin_database.migrate,
    admin_database.backup,
    admin_database.restore,
):
    command.add_command(each)
