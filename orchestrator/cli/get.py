"""`axo get`: list runs, or show one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import fields, note, output_option, print_data, print_list, table
from orchestrator.cli.units import age
from orchestrator.runs import Status

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Run, RunDetail

SPARE = ("REASON", "LOSS", "STEP")
LIST = (
    "runs"  # `kubectl get` has taught everybody to say what is listed; a run of this name is shown by its id
)
NONE = "no runs yet; `axo run spec.yaml` starts one"
WATCH_SECONDS = 2.0


@click.command("get")
@click.argument("name", metavar="[NAME]", type=RUN, required=False)
@click.option("-w", "--watch", is_flag=True, help="Go on showing it as it changes.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Runs to list.")
@click.option(
    "--status",
    "statuses",
    metavar="STATUS",
    multiple=True,
    type=click.Choice([each.value for each in Status]),
    help="List runs in this status alone; may be repeated.",
)
@click.option("--named", metavar="NAME", help="List the runs of specs of this name alone.")
@click.option(
    "--curve",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw NAME's losses into this .svg or .png, or write all its metrics, step by step, into this .csv.",
)
@output_option("table", "wide", "json", "yaml", "name")
def command(
    name: str | None,
    watch: bool,
    limit: int,
    statuses: tuple[str, ...],
    named: str | None,
    curve: Path | None,
    form: str,
) -> None:
    """List runs, or show the run NAME (its id, or the newest of a spec's name).

    \b
    Examples:
      axo get
      axo get support-triage -o json
      axo get -w --status training --status waiting
    """
    if name == LIST:
        name = None
    if name is not None and (statuses or named):
        raise click.UsageError("--status and --named choose from the list of runs: leave NAME out")
    if watch and form not in ("table", "wide"):
        raise click.UsageError("--watch shows tables; for programs, ask again with `-o json`")
    with connected(looking=True) as client:
        if curve is not None:
            _draw(client, name, curve)
        if name is not None:
            _show(client, name, form, watch=watch)
        else:
            runs = partial(client.runs, status=[Status(each) for each in statuses], name=named, limit=limit)
            if watch:
                _watch(runs, form)
            else:
                _list(runs, form, "no such runs" if statuses or named else NONE)


def _draw(client: Client, name: str | None, file: Path) -> None:
    from orchestrator.cli.curve import draw_series
    from orchestrator.cli.steps_file import is_table, write_steps

    if name is None:
        raise click.UsageError("--curve is about one run: give its NAME")
    run = client.run(name)
    if is_table(file):
        note(f"wrote {file}: {write_steps(client, [run.id], file):,} steps")
        return
    keys = {"training loss": "loss", "validation loss": "eval_loss"}
    found = client.metrics(run.id, *keys.values())
    series = {told: [(point.step, point.value) for point in found[key]] for told, key in keys.items()}
    draw_series(f"{run.id} on {run.base_model}", series).write(file)
    note(f"drew {file}")


def _list(runs: Callable[[], Iterator[Run]], form: str, nothing: str) -> None:
    from orchestrator.cli.shown import summary

    print_list(
        list(runs()),
        form,
        name=lambda run: run.id,
        data=summary,
        row=lambda run: _row(run, form),
        nothing=nothing,
        spare=SPARE,
    )


def _watch(shown: Callable[[], Iterator[Run]], form: str) -> None:
    """The list again and again: redrawn on a terminal, elsewhere the rows that changed."""
    before: Mapping[str, Mapping[str, str]] = {}
    redraw = sys.stdout.isatty()
    while True:
        runs = list(shown())
        rows = {run.id: {**_row(run, form), "AGE": ""} for run in runs}
        changed = [run for run in runs if rows[run.id] != before.get(run.id)]
        if redraw:
            click.clear()
            click.echo(_table(runs, form) or "no runs yet")
        elif changed:
            text = _table(changed, form)
            click.echo(text.split("\n", 1)[1] if before else text)
        before = rows
        time.sleep(WATCH_SECONDS)


def _table(runs: list[Run], form: str) -> str:
    rows = [_row(run, form) for run in runs]
    return table(rows, width=10_000 if form == "wide" else None, spare=SPARE)


def _row(run: Run, form: str) -> dict[str, str]:
    from orchestrator.cli.shown import progress_of

    more = {
        "BASE-MODEL": run.base_model,
        "MACHINE": run.machine,
        "DATASET": (run.dataset or "")[:12],
        "LOST": str(run.lost_steps or ""),
    }
    return {
        "NAME": run.id,
        "STATUS": run.status.value,
        "REASON": run.reason.value if run.reason else "",
        "STEP": progress_of(run) or "",
        "LOSS": "" if run.loss is None else f"{run.loss:.4f}",
        **(more if form == "wide" else {}),
        "AGE": age(time.time() - run.created),
    }


def _show(client: Client, name: str, form: str, *, watch: bool) -> None:
    from orchestrator.cli.shown import state_fields, summary

    run = client.run(name)
    if watch:
        run = _follow(client, run)
    if form == "name":
        click.echo(run.id)
    elif form in ("json", "yaml"):
        print_data(summary(run), form)
    else:
        click.echo(fields(state_fields(client, run)))
        note(f"`axo describe {run.id}` tells more")


def _follow(client: Client, run: RunDetail) -> RunDetail:
    """Show the live view, without driving the run, until it has ended."""
    from orchestrator.cli.follow import standings

    note(run.id)
    for newest in standings(client, run.id, rests=False):
        if newest.status.final:
            break
    return client.run(run.id)
