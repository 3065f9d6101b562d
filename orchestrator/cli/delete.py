"""`axo delete`: throw runs away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.frame import can_ask
from orchestrator.cli.output import note, output_option, print_list
from orchestrator.cli.units import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.wire import Deleted, RunDetail


@click.command("delete")
@click.argument("names", metavar="NAME...", type=RUN, nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output_option("table", "json", "yaml", "name")
def command(names: Sequence[str], yes: bool, form: str) -> None:
    """Delete the runs NAME, which have ended, for ever: records, logs, checkpoints and adapters.

    What they published stays in its registries, as do their MLflow runs, and the datasets and base
    models that other runs may use. Without --yes it asks; with it, each NAME must be a run's whole id.

    \b
    Examples:
      axo delete support-triage
      axo delete support-triage-x7k2p support-triage-b3m9q --yes
    """
    if not yes and not can_ask():
        raise click.UsageError("nobody is here to be asked: give --yes and the ids of the runs")
    with connected() as client:
        if not yes:
            runs = {run.id: run for run in map(client.run, names)}
            _ask(list(runs.values()))
            names = list(runs)
        deleted = [client.delete_run(name) for name in names]
    print_list(
        deleted,
        form,
        name=lambda gone: gone.run,
        row=_row,
    )
    if any(gone.versions or gone.mlflow for gone in deleted):
        note("what remains is in MLflow: delete it there, if you mean to")
    if not all(gone.removed for gone in deleted):
        note("storage does not let go of everything now; the service goes on removing it")


def _ask(runs: Sequence[RunDetail]) -> None:
    """Name what would go; leave unless somebody wants that."""
    for run in runs:
        ended = "" if run.ended is None else f" {age(time.time() - run.ended)} ago"
        published = f", published as {run.published[-1].reference}, which stays" if run.published else ""
        note(f"{run.id}: {run.status}{ended}{published}")
    what = "this run" if len(runs) == 1 else f"these {len(runs)} runs"
    click.confirm(f"Delete {what} for ever?", abort=True, err=True)


def _row(gone: Deleted) -> dict[str, str]:
    remains = [version.reference for version in gone.versions]
    return {
        "DELETED": gone.run,
        "STORAGE": "removed" if gone.removed else "being removed",
        "REMAINS": ", ".join([*remains, *(["MLflow run"] if gone.mlflow else [])]),
    }
