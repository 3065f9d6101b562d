"""`axo run`: from a spec to its published adapter, with a live view."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.follow import follow, follow_options
from orchestrator.cli.output import note, output_option

if TYPE_CHECKING:
    from orchestrator.spec.load import Loaded
    from orchestrator.wire import Submission


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--new", is_flag=True, help="Start over, even where it has an unfinished run.")
@follow_options
@output_option("table", "json", "yaml", "name")
def command(
    spec: Path, new: bool, watch: bool | None, detach: bool, timeout: float | None, form: str
) -> None:
    """Run SPEC to its published adapter, or go on with its unfinished run.

    Ctrl-C lets go of it: training goes on, and the same command comes back to it.

    \b
    Examples:
      axo run spec.yaml
      axo run spec.yaml --new --detach -o name
    """
    from orchestrator.spec.load import load_spec

    loaded = load_spec(spec)
    with connected(driving=not detach) as client:
        run = client.submit(submission(loaded, go_on=not new))
        note(f"{run.id}: {'going on with its unfinished run' if run.continued else 'submitted'}")
        code = follow(client, run, form, watch=watch, detach=detach, timeout=timeout)
    sys.exit(code)


def submission(loaded: Loaded, *, go_on: bool) -> Submission:
    """A spec as it is sent to a service of this very machine: its paths are the service's paths."""
    from orchestrator.wire import Submission

    return Submission(
        spec=loaded.text,
        file=str(loaded.path),
        mappings=dict(loaded.mapping_texts),
        base=str(loaded.path.parent.absolute()),
        go_on=go_on,
    )
