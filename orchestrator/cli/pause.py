"""`axo pause`: stop a run for now."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.output import note


@click.command("pause")
@click.argument("name", metavar="NAME", type=RUN)
def command(name: str) -> None:
    """Stop the run NAME for now, after a checkpoint, and give its device back.

    \b
    Example:
      axo pause support-triage
    """
    from orchestrator.cli.progress import make_progress
    from orchestrator.runs import Intent
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    with Service(Settings.from_environment()) as service:
        run = service.ask(name, Intent.PAUSE)
        note(f"pausing {run.id}; a training step saves a checkpoint first")
        with make_progress(service) as progress:
            run = service.drive(run.id, progress.show)
    click.echo(f"{run.id} {run.status}")
    if run.status == "paused":
        note(f"go on: axo resume {run.id}")
