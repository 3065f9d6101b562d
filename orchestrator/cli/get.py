"""`axo get`: list runs, or show one."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.output import age, fields, note, output_option, print_data, table
from orchestrator.spec.stored import model_of

if TYPE_CHECKING:
    from orchestrator.db import Run
    from orchestrator.service import Service

WATCH_SECONDS = 2.0


@click.command("get")
@click.argument("name", metavar="[NAME]", type=RUN, required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on showing it as it changes.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Runs to list.")
@click.option(
    "--curve",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw NAME's losses into this .svg or .png.",
)
@output_option("table", "wide", "json", "yaml", "name")
def command(name: str | None, watch: bool, limit: int, curve: Path | None, form: str) -> None:
    """List runs, or show the run NAME (its id, or the newest of a spec's name).

    \b
    Examples:
      axo get
      axo get support-triage -o json
      axo get -w
    """
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    if watch and form not in ("table", "wide"):
        raise click.UsageError("--watch shows tables; for programs, ask again with `-o json`")
    with Service(Settings.from_environment()) as service:
        if curve is not None:
            _draw(service, name, curve)
        if name is not None:
            _show(service, name, form, watch=watch)
        elif watch:
            _watch(service, limit, form)
        else:
            _list(service, limit, form)


def _draw(service: Service, name: str | None, file: Path) -> None:
    from orchestrator.cli.curve import draw_series

    if name is None:
        raise click.UsageError("--curve draws the losses of one run: give its NAME")
    run = service.database.run(name)
    keys = {"training loss": "loss", "validation loss": "eval_loss"}
    series = {
        told: [(point.step, point.value) for point in service.database.points(run.id, key)]
        for told, key in keys.items()
    }
    draw_series(f"{run.id} on {model_of(run.spec)}", series).write(file)
    note(f"drew {file}")


def _list(service: Service, limit: int, form: str) -> None:
    from orchestrator.cli.shown import summary

    runs = service.database.runs(limit)
    if form == "name":
        for run in runs:
            click.echo(run.id)
    elif form in ("json", "yaml"):
        print_data([summary(service, run) for run in runs], form)
    elif not runs:
        note("no runs yet; `axo run spec.yaml` starts one")
    else:
        click.echo(_table(service, runs, form))


def _watch(service: Service, limit: int, form: str) -> None:
    """The list again and again: redrawn on a terminal, elsewhere the rows that changed."""
    before: Mapping[str, Mapping[str, str]] = {}
    redraw = sys.stdout.isatty()
    while True:
        runs = service.database.runs(limit)
        rows = {run.id: {**_row(service, run, form), "AGE": ""} for run in runs}
        changed = [run for run in runs if rows[run.id] != before.get(run.id)]
        if redraw:
            click.clear()
            click.echo(_table(service, runs, form) or "no runs yet")
        elif changed:
            text = _table(service, changed, form)
            click.echo(text.split("\n", 1)[1] if before else text)
        before = rows
        time.sleep(WATCH_SECONDS)


def _table(service: Service, runs: list[Run], form: str) -> str:
    rows = [_row(service, run, form) for run in runs]
    return table(rows, width=10_000 if form == "wide" else None, spare=("REASON", "LOSS", "STEP"))


def _row(service: Service, run: Run, form: str) -> dict[str, str]:
    from orchestrator.cli.shown import progress_of

    newest, progress = progress_of(service, run)
    more = {
        "BASE-MODEL": model_of(run.spec),
        "MACHINE": run.spec["compute"]["machine"],
        "DATASET": str(run.facts.get("dataset") or "")[:12],
        "LOST": str(run.lost_steps or ""),
    }
    return {
        "NAME": run.id,
        "STATUS": run.status.value,
        "REASON": run.reason.value if run.reason else "",
        "STEP": progress or "",
        "LOSS": f"{newest.value:.4f}" if newest else "",
        **(more if form == "wide" else {}),
        "AGE": age(time.time() - run.created),
    }


def _show(service: Service, name: str, form: str, *, watch: bool) -> None:
    from orchestrator.cli.shown import state_fields, summary

    run = service.database.run(name)
    if watch:
        run = _follow(service, run)
    if form == "name":
        click.echo(run.id)
    elif form in ("json", "yaml"):
        print_data(summary(service, run), form)
    else:
        click.echo(fields(state_fields(service, run)))
        note(f"`axo describe {run.id}` tells more")


def _follow(service: Service, run: Run) -> Run:
    """Show the live view, without driving the run, until it has ended."""
    from orchestrator.cli.progress import make_progress

    note(run.id)
    with make_progress(service) as progress:
        while True:
            run = service.database.run(run.id)
            progress.show(run)
            if run.status.final:
                return run
            time.sleep(0.5)
