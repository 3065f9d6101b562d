"""`axo cancel`: stop a run."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.output import note


@click.command("cancel")
@click.argument("name", metavar="NAME", type=RUN)
def command(name: str) -> None:
    """Stop the run NAME and wait until its processes are gone; its newest checkpoint stays.

    \b
    Example:
      axo cancel support-triage-x7k2p
    """
    from orchestrator.cli.progress import make_progress
    from orchestrator.runs import Intent
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    with Service(Settings.from_environment()) as service:
        run = service.ask(name, Intent.CANCEL)
        note(f"stopping {run.id}; a training step saves a checkpoint first")
        with make_progress(service) as progress:
            run = service.drive(run.id, progress.show)
    click.echo(f"{run.id} {run.status}")
