"""`axo events`: what happened to a run, in order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note, output_option, print_data
from orchestrator.cli.units import moment, often

if TYPE_CHECKING:
    from orchestrator.wire import Event


@click.command("events")
@click.argument("name", metavar="NAME", type=RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only those after the event of this id.")
@output_option("table", "json", "yaml")
def command(name: str, follow: bool, after: int, form: str) -> None:
    """Print what happened to the run NAME, oldest first.

    With -f and `-o json` each event is a line of JSON, as it comes.

    \b
    Examples:
      axo events support-triage -f
      axo events support-triage --after 120 -o json
    """
    from orchestrator.wire import Event

    if follow and form == "yaml":
        raise click.UsageError("--follow prints lines: as a table, or with `-o json`")
    with connected(looking=True) as client:
        run = client.run(name).id
        if follow:
            for change in client.follow(run, after):
                if isinstance(change, Event):
                    click.echo(_line(change, form))
            return
        events = client.events(run, after)
    if form != "table":
        print_data([event.model_dump(mode="json") for event in events], form)
        return
    for event in events:
        click.echo(_line(event, form))
    if not events:
        note("nothing happened yet")


def _line(event: Event, form: str) -> str:
    if form == "json":
        return json.dumps(event.model_dump(mode="json"), ensure_ascii=False)
    told = [moment(event.time), event.status, event.reason or "", " ".join(event.message.split())]
    told.append(often(event))
    return "  ".join(part for part in told if part)
