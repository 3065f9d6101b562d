"""`axo resume`: go on with a paused run, or come back to one that was let go of."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.follow import follow, follow_options
from orchestrator.cli.output import output_option


@click.command("resume")
@click.argument("name", metavar="NAME", type=RUN)
@follow_options
@output_option("table", "json", "yaml", "name")
def command(name: str, watch: bool | None, detach: bool, timeout: float | None, form: str) -> None:
    """Go on with the run NAME: one that was paused, or let go of with Ctrl-C.

    It goes on from its newest checkpoint, and ends as it would have without the pause.

    \b
    Examples:
      axo resume support-triage
      axo resume support-triage --detach
    """
    with connected(driving=not detach) as client:
        run = client.resume(name)
        code = follow(client, run, form, watch=watch, detach=detach, timeout=timeout)
    sys.exit(code)
