"""`axo pause`: stop a run for now."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note


@click.command("pause")
@click.argument("name", metavar="NAME", type=RUN)
def command(name: str) -> None:
    """Stop the run NAME for now, after a checkpoint, and give its device back.

    \b
    Example:
      axo pause support-triage
    """
    from orchestrator.cli.follow import carried_out

    with connected(driving=True) as client:
        run = client.pause(name)
        note(f"pausing {run.id}; a training step saves a checkpoint first")
        run = carried_out(client, run)
    click.echo(f"{run.id} {run.status}")
    if run.status == "paused":
        note(f"go on: axo resume {run.id}")
