"""`axo publish`: push a finished adapter to the registries that lack it."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import output_option, print_data, table


@click.command("publish")
@click.argument("name", metavar="NAME", type=RUN)
@output_option("table", "json", "yaml", "name")
def command(name: str, form: str) -> None:
    """Push the adapter of the run NAME, now, to each registry of its spec that has not confirmed it.

    \b
    Example:
      axo publish support-triage
    """
    from orchestrator.cli.follow import published_at_last

    with connected(driving=True) as client:
        published = published_at_last(client, client.publish(name)).published
    if form == "name":
        for publication in published:
            click.echo(publication.reference)
    elif form != "table":
        print_data([{"reference": p.reference, "url": p.url, "digest": p.digest} for p in published], form)
    elif published:
        rows = [
            {"REFERENCE": p.reference, "REGISTRY": p.registry, "DIGEST": p.digest[:12]} for p in published
        ]
        click.echo(table(rows))
    else:
        click.echo("the spec names no registry: add `publish` to it", err=True)
