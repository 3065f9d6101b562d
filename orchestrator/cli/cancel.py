"""`axo cancel`: stop a run."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note


@click.command("cancel")
@click.argument("name", metavar="NAME", type=RUN)
@click.option(
    "--keep",
    type=click.Choice(("best", "last", "none")),
    default="last",
    show_default=True,
    help="The checkpoint that becomes its adapter.",
)
def command(name: str, keep: str) -> None:
    """Stop the run NAME for good and wait until its processes are gone.

    It saves a last checkpoint first, and the adapter of that, or of the one with the best evaluation,
    can be fetched with `axo pull`; nothing is published. With --keep none it ends at once, and what
    checkpoints there are stay until it is deleted.

    \b
    Examples:
      axo cancel support-triage-x7k2p
      axo cancel support-triage --keep best
    """
    from orchestrator.cli.follow import carried_out
    from orchestrator.runs import Keep

    with connected(driving=True) as client:
        run = client.cancel(name, Keep(keep))
        note(f"stopping {run.id}" + ("" if keep == "none" else "; a training step saves a checkpoint first"))
        run = carried_out(client, run)
    click.echo(f"{run.id} {run.status}")
