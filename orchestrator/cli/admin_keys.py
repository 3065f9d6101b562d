"""`axo admin keys`: the API keys of a service, made and revoked in its database."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from orchestrator.cli.frame import checked_name
from orchestrator.cli.output import note, output_option, print_data, print_list
from orchestrator.cli.units import age

if TYPE_CHECKING:
    from orchestrator import wire
    from orchestrator.db import Database
    from orchestrator.service import Caller

_ROLES = ("viewer", "submitter", "admin")


@click.group("keys")
def keys() -> None:
    """Make, list and revoke the API keys of a service.

    A key belongs to one project and has one role there: viewer sees, submitter runs things, admin
    also makes keys. From the first key on, the service wants one of everybody.
    """


@keys.command("create", short_help="Make a key, and print it this once.")
@click.argument("name", callback=checked_name)
@click.option("--project", default="default", show_default=True, callback=checked_name, help="Its project.")
@click.option("--role", type=click.Choice(_ROLES), default="submitter", show_default=True, help="Its role.")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="Days it is good.")
@output_option("table", "json", "yaml", "name")
def create(name: str, project: str, role: wire.RoleName, days: int, form: str) -> None:
    """Make a key called NAME, and print it: it is not kept, and never shown again.

    \b
    Examples:
      axo admin keys create ops --role admin
      axo admin keys create ci --project triage --days 90 > ci.key
    """
    from orchestrator import wire
    from orchestrator.service.keys import Keys

    with _database() as database:
        asked = wire.KeyAsked(name=name, role=role, days=days)
        fresh = Keys(database, time.time).create(_operator(project), asked)
    if form in ("json", "yaml"):
        print_data(fresh.model_dump(mode="json"), form)
    else:
        lasts = f"{days} day{'s' if days != 1 else ''}"
        note(f"{fresh.id}: {fresh.role} in {fresh.project} for {lasts}; it is shown this once")
        click.echo(fresh.id if form == "name" else fresh.key)


@keys.command("list")
@click.option("--project", help="Only those of this project.")
@output_option("table", "json", "yaml", "name")
def list_(project: str | None, form: str) -> None:
    """List the keys, newest first, without their texts.

    \b
    Example:
      axo admin keys list --project triage
    """
    from orchestrator.service.keys import told

    with _database() as database:
        found = [told(key) for key in database.keys(project)]
    now = time.time()
    print_list(
        found,
        form,
        name=lambda key: key.id,
        row=lambda key: _row(key, now),
        nothing="no keys",
    )


@keys.command("revoke")
@click.argument("key")
def revoke(key: str) -> None:
    """Let the key of the id KEY be refused from the next request on.

    \b
    Example:
      axo admin keys revoke k7m2p9qx
    """
    from orchestrator.service.keys import Keys

    with _database() as database:
        there = database.key(key)
        revoked = Keys(database, time.time).revoke(_operator(there.project if there else "default"), key)
    note(f"{revoked.id} ({revoked.name}) of {revoked.project} is revoked")


@contextmanager
def _database() -> Iterator[Database]:
    from orchestrator.db import opened
    from orchestrator.settings import Settings

    with opened(Settings.from_environment().database_url, 1) as database:
        yield database


def _operator(project: str) -> Caller:
    """Whoever can use the database is an admin of every project."""
    from orchestrator.service import Caller

    return Caller(project, name=f"operator/{_user()}")


def _user() -> str:
    """Who works on this machine; a container's user has a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _row(key: wire.Key, now: float) -> dict[str, str]:
    return {
        "ID": key.id,
        "NAME": key.name,
        "PROJECT": key.project,
        "ROLE": key.role,
        "AGE": age(now - key.created),
        "USED": "never" if key.used is None else f"{age(now - key.used)} ago",
        "STATE": _state(key, now),
    }


def _state(key: wire.Key, now: float) -> str:
    if key.revoked is not None:
        return "revoked"
    if key.expires is None:
        return "good"
    return "expired" if key.expires <= now else f"{age(key.expires - now)} left"
