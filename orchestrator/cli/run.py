"""`axo run`: from a spec to its published adapter, with a live view."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.follow import follow, follow_options
from orchestrator.cli.output import note, output_option

if TYPE_CHECKING:
    from orchestrator.db import Run
    from orchestrator.service import Service


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
    from orchestrator.service import Service
    from orchestrator.settings import Settings
    from orchestrator.spec.load import load_spec

    loaded = load_spec(spec)
    with Service(Settings.from_environment()) as service:
        run, continued = service.submit(loaded, new=new)
        _introduce(service, run, continued)
        code = follow(service, run, form, watch=watch, detach=detach, timeout=timeout)
    sys.exit(code)


def _introduce(service: Service, run: Run, continued: bool) -> None:
    note(f"{run.id}: {'going on with its unfinished run' if continued else 'submitted'}")
    if run.mlflow_url:
        note(f"MLflow: {run.mlflow_url}")
    elif service.tracking.away:
        note(f"MLflow does not answer ({service.tracking.away}); training does not wait for it")
