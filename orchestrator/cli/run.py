"""`axo run`: from a spec to its published adapter, with a live view."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cli.connection import connected, read_spec
from orchestrator.cli.follow import follow, follow_options
from orchestrator.cli.output import note, output_option
from orchestrator.cli.sending import submitted


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--new", is_flag=True, help="Start over, even where it has an unfinished run.")
@follow_options
@output_option("table", "json", "yaml", "name")
def command(
    spec: Path, new: bool, watch: bool | None, detach: bool, timeout: float | None, form: str
) -> None:
    """Run SPEC to its published adapter, or go on with its unfinished run.

    Ctrl-C or a cut connection lets go of it: training goes on, and the same command comes back to it.

    \b
    Examples:
      axo run spec.yaml
      axo run spec.yaml --new --detach -o name
    """
    loaded = read_spec(spec)
    with connected(driving=not detach) as client:
        run = submitted(client, loaded, go_on=not new)
        note(f"{run.id}: {'going on with its unfinished run' if run.continued else 'submitted'}")
        code = follow(client, run, form, watch=watch, detach=detach, timeout=timeout)
    sys.exit(code)
