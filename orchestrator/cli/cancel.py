"""`axo cancel`: stop a run."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note


@click.command("cancel")
@click.argument("name", metavar="NAME", type=RUN)
def command(name: str) -> None:
    """Stop the run NAME and wait until its processes are gone; its newest checkpoint stays.

    \b
    Example:
      axo cancel support-triage-x7k2p
    """
    from orchestrator.cli.follow import carried_out

    with connected(driving=True) as client:
        run = client.cancel(name)
        note(f"stopping {run.id}; a training step saves a checkpoint first")
        run = carried_out(client, run)
    click.echo(f"{run.id} {run.status}")
