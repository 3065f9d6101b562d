"""`axo mappings`: those that a project shares, which specs name."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import MAPPING
from orchestrator.cli.connection import connected
from orchestrator.cli.frame import can_ask
from orchestrator.cli.listing import Listing
from orchestrator.cli.output import note, output_option, print_list
from orchestrator.cli.units import age

if TYPE_CHECKING:
    from orchestrator.wire import MappingListed


@click.group("mappings", cls=Listing)
def command() -> None:
    """List the mappings that specs of the project may name, as in `mapping: tickets`.

    \b
    Examples:
      axo mappings
      axo mappings push tickets.yaml
      axo mappings show tickets
    """


@command.command("list", short_help="List them; so does `axo mappings` alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Mappings.")
@output_option("table", "wide", "json", "yaml", "name")
def list_mappings(limit: int, form: str) -> None:
    """List the mappings of the project, as `axo mappings` alone does, with the same options.

    \b
    Examples:
      axo mappings list
      axo mappings -o wide
    """
    with connected() as client:
        found = list(client.mappings(limit))
    wide = form == "wide"
    print_list(
        found,
        form,
        name=lambda mapping: mapping.name,
        row=lambda mapping: _row(mapping, wide=wide),
        nothing="no mappings yet; `axo mappings push FILE` keeps one",
    )


@command.command("push")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="What specs call it; the name of FILE, if left out.")
def push(file: Path, name: str | None) -> None:
    """Keep the mapping in FILE for the project.

    It takes the place of the one that has its name. Runs stay as they were submitted.

    \b
    Examples:
      axo mappings push tickets.yaml
      axo mappings push mappings/v2.yaml --name tickets
    """
    from orchestrator.service.checks import check_mapping
    from orchestrator.spec.base import NAME_PATTERN
    from orchestrator.spec.yaml import MAX_BYTES

    name = file.stem if name is None else name
    if not re.fullmatch(NAME_PATTERN, name):
        raise click.UsageError(f"{name!r} is no name: give --name lower case letters, digits and hyphens")
    with file.open("rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    check_mapping(data, file)
    with connected() as client:
        kept = client.put_mapping(name, data.decode("utf-8-sig"))
    note(f"{kept.name}: {kept.sha256[:12]}; specs name it with `mapping: {kept.name}`")


@command.command("show")
@click.argument("name", type=MAPPING)
def show(name: str) -> None:
    """Print the mapping NAME as it was written.

    \b
    Example:
      axo mappings show tickets > tickets.yaml
    """
    with connected() as client:
        click.echo(client.mapping(name).text, nl=False)


@command.command("delete")
@click.argument("name", type=MAPPING)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete the mapping NAME. Runs keep the text that they were submitted with.

    \b
    Example:
      axo mappings delete tickets --yes
    """
    if not yes and not can_ask():
        raise click.UsageError("nobody is here to be asked: give --yes")
    with connected() as client:
        found = client.mapping(name)
        if not yes:
            click.confirm(f"Delete the mapping {found.name} for ever?", abort=True, err=True)
        client.delete_mapping(found.name)
    click.echo(f"{found.name} deleted")


def _row(mapping: MappingListed, *, wide: bool) -> dict[str, str]:
    return {
        "NAME": mapping.name,
        "DIGEST": mapping.sha256 if wide else mapping.sha256[:12],
        "AGE": age(time.time() - mapping.updated),
    }
