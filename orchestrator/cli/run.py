"""`axo run`: from a spec to its published adapter, with a live line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import note, output_option, print_data

if TYPE_CHECKING:
    from orchestrator.db import Run
    from orchestrator.service import Service


@click.command("run")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--new", is_flag=True, help="Start over even where an unfinished run of this spec exists.")
@click.option("--plain", is_flag=True, envvar="AXO_PLAIN", help="No live line, also on a terminal.")
@output_option("table", "json", "yaml", "name")
def command(spec: Path, new: bool, plain: bool, form: str) -> None:
    """Run SPEC to its published adapter, or go on with its unfinished run.

    Ctrl-C lets go of it: training goes on, and the same command comes back to it.

    \b
    Examples:
      axo run spec.yaml
      axo run spec.yaml --new -o name
    """
    from orchestrator.cli.progress import make_progress
    from orchestrator.service import Service
    from orchestrator.settings import Settings
    from orchestrator.spec.load import load_spec

    loaded = load_spec(spec)
    with Service(Settings.from_environment()) as service:
        run, continued = service.submit(loaded, new=new)
        _introduce(service, run, continued)
        progress = make_progress(service, plain=plain)
        try:
            with progress:
                run = service.drive(run.id, progress.show)
        except KeyboardInterrupt:
            _let_go(service, run.id, spec)
            sys.exit(130)
        _conclude(service, run, form)
    sys.exit(0 if run.status == "succeeded" else 1)


def _introduce(service: Service, run: Run, continued: bool) -> None:
    note(f"{run.id}: {'going on with its unfinished run' if continued else 'submitted'}")
    if run.mlflow_url:
        note(f"MLflow: {run.mlflow_url}")
    elif service.tracking.away:
        note(f"MLflow does not answer ({service.tracking.away}); training does not wait for it")


def _let_go(service: Service, run_id: str, spec: Path) -> None:
    run = service.database.run(run_id)
    note("")
    note(f"let go of {run.id} ({run.status}); what it started goes on by itself")
    note(f"  come back: axo run {spec}")
    note(f"  stop it:   axo cancel {run.id}")


def _conclude(service: Service, run: Run, form: str) -> None:
    from orchestrator.cli.get import describe_end, summary

    if form == "name":
        click.echo(run.id)
    elif form != "table":
        print_data(summary(service, run), form)
    else:
        click.echo(describe_end(service, run))
    if service.tracking.behind(run):
        note(f"MLflow lacks the end of this run ({service.tracking.away}); the next `axo run` tells it")
