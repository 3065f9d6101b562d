"""`axo verify`: re-read what was published and compare digests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note, output_option, print_data


@click.command("verify")
@click.argument("name", metavar="NAME", type=RUN)
@output_option("table", "json", "yaml")
def command(name: str, form: str) -> None:
    """Download what was published of the run NAME and compare every file with its digest.

    \b
    Example:
      axo verify support-triage
    """
    sys.exit(1 if prove(name, form) else 0)


def prove(name: str, form: str) -> bool:
    """Print what is untrue of what a run published; whether anything is."""
    with connected() as client:
        found = client.verify(name)
    if form != "table":
        print_data(
            {place: {"as_published": not faults, "faults": faults} for place, faults in found.items()}, form
        )
    else:
        for place, faults in found.items():
            click.echo(f"{place}: {'as published' if not faults else 'NOT what was published'}")
            for fault in faults:
                click.echo(f"  {fault}")
        if said := way_out(name, found):
            note(said)
    return any(found.values())


def way_out(name: str, found: Mapping[str, Sequence[str]]) -> str | None:
    """Where the adapter is still what it was, if it is not so everywhere."""
    from orchestrator.wire import IN_STORAGE

    true = [place for place, faults in found.items() if not faults]
    if not true or len(true) == len(found):
        return None
    if IN_STORAGE in true:
        return f"as it was made:  axo pull {name}\npublish it anew:  axo publish {name}"
    return f"as it was made:  axo pull {true[0]}"
