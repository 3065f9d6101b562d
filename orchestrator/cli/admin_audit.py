"""`axo admin audit`: what people changed, and the proof that this record is whole."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import note, output_option, print_list
from orchestrator.cli.units import moment

if TYPE_CHECKING:
    from orchestrator.db import Recorded


@click.group("audit")
def audit() -> None:
    """Read the audit log, and prove that nobody has changed it."""


@audit.command("list")
@click.option("--project", help="Only changes in this project.")
@click.option("--of", "subject", metavar="ID", help="Only changes of the run, file or key of this id.")
@click.option("--from", "address", metavar="ADDRESS", help="Only changes from this address.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="How many.")
@output_option("table", "wide", "json", "yaml", "name")
def list_(project: str | None, subject: str | None, address: str | None, limit: int, form: str) -> None:
    """List who changed what, from where, newest first.

    Behind a proxy the client's own address counts where `access.proxies` of the settings names the proxy.

    \b
    Examples:
      axo admin audit list --of triage-x7k2m
      axo admin audit list --from 192.0.2.7
    """
    from orchestrator.db import opened
    from orchestrator.settings import Settings

    with opened(Settings.from_environment().database_url, 1) as database:
        found = database.changes(project, subject, address, limit)
    print_list(
        found,
        form,
        name=lambda each: str(each.id),
        data=_flat,
        row=lambda each: _row(each, wide=form == "wide"),
        nothing="no changes",
        spare=("FROM", "PROJECT"),
        keep_first=True,
    )


def _whole_digest(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A digest that is cut short would read as a log that somebody has changed."""
    if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
        raise click.BadParameter("a digest has 64 characters, each 0-9 or a-f")
    return value


@audit.command("verify", short_help="Prove that the log is as it was written.")
@click.option(
    "--noted",
    metavar="DIGEST",
    callback=_whole_digest,
    help="A digest that this command printed before: it must be there.",
)
def verify(noted: str | None) -> None:
    """Read the whole log and prove that no row was changed, added or taken away.

    Prints the digest of the last row. Note it elsewhere, and give it as --noted the next time: whoever
    could write the whole database could have made the whole chain anew.

    \b
    Example:
      axo admin audit verify --noted 5f2a...
    """
    from orchestrator.db import opened
    from orchestrator.errors import OrchestratorError
    from orchestrator.settings import Settings

    with opened(Settings.from_environment().database_url, 1) as database:
        proof = database.verify_changes(noted)
    if proof.broken:
        raise OrchestratorError(
            f"the audit log is not whole: {proof.broken}",
            hint=f"{proof.rows:,} rows from its start are as they were written",
        )
    note(f"{proof.rows:,} changes, none of them touched")
    click.echo(proof.digest)


def _flat(each: Recorded) -> dict[str, object]:
    return {"id": each.id, **asdict(each.change), "previous": each.previous, "digest": each.digest}


def _row(each: Recorded, *, wide: bool) -> dict[str, str]:
    change = each.change
    row = {
        "WHEN": moment(change.time),
        "WHO": change.actor,
        "FROM": change.address or "",
        "PROJECT": change.project,
        "WHAT": change.action,
        "OF": change.subject,
    }
    return {"ID": str(each.id), **row, "REQUEST": change.request, "DIGEST": each.digest} if wide else row
