"""`axo publish`: push a finished adapter to the registries that lack it, or hold something else by now."""

from __future__ import annotations

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import output_option, print_list


@click.command("publish")
@click.argument("name", metavar="NAME", type=RUN)
@output_option("table", "json", "yaml", "name")
def command(name: str, form: str) -> None:
    """Push the adapter of the run NAME, now, to each registry of its spec that has not confirmed it, or that
    does not hold any more what was published.

    \b
    Example:
      axo publish support-triage
    """
    from orchestrator.cli.follow import published_at_last

    with connected(driving=True) as client:
        published = published_at_last(client, client.publish(name)).published
    print_list(
        published,
        form,
        name=lambda each: each.reference,
        data=lambda each: {"reference": each.reference, "url": each.url, "digest": each.digest},
        row=lambda each: {
            "REFERENCE": each.reference,
            "REGISTRY": each.registry,
            "DIGEST": each.digest[:12],
        },
        nothing=f"its spec names no registry; `axo pull {name}` fetches the adapter",
    )
