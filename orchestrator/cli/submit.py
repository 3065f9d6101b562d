"""`axo submit`: hand a spec to the service, which sees to the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.follow import conclude, follow, leave
from orchestrator.cli.output import note, output_option
from orchestrator.cli.sending import submitted


@click.command("submit")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("-w", "--watch", is_flag=True, help="Follow it to its end; its exit code is the run's.")
@click.option("--timeout", type=click.FloatRange(0), help="Watch for this many minutes at most (124).")
@output_option("table", "json", "yaml", "name")
def command(spec: Path, watch: bool, timeout: float | None, form: str) -> None:
    """Submit SPEC as a new run.

    A service elsewhere gets the spec as it is written, its mappings, and the files that it names;
    what was sent before is not sent again.

    \b
    Examples:
      axo submit spec.yaml --watch
      axo submit spec.yaml -o name
    """
    from orchestrator.spec.load import load_spec

    loaded = load_spec(spec)
    with connected(driving=watch) as client:
        run = submitted(client, loaded)
        note(f"{run.id}: submitted")
        if watch:
            sys.exit(follow(client, run, form, timeout=timeout))
        leave(client, run)
        conclude(client, run, form)
