"""`axo top`: what goes on now, and how far it is."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.output import table
from orchestrator.cli.units import age, duration

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Run

LOOK_SECONDS = 2.0
MOST = 100


@click.command("top")
@click.option("--once", is_flag=True, help="Print it once, and end; so it is where stdout is no terminal.")
def command(once: bool) -> None:
    """Show the runs that go on, how far they are and how fast, again and again.

    \b
    Examples:
      axo top
      axo top --once
    """
    with connected(looking=True) as client:
        while True:
            text = _view(client)
            if once or not sys.stdout.isatty():
                click.echo(text)
                return
            click.clear()
            click.echo(text)
            time.sleep(LOOK_SECONDS)


def _view(client: Client) -> str:
    from orchestrator.runs import Status

    going = [status for status in Status if not status.final]
    runs = list(client.runs(status=going, limit=MOST))
    counts = Counter(run.status.value for run in runs)
    head = ", ".join(f"{counts[status.value]} {status.value}" for status in going if counts[status.value])
    if not runs:
        return "nothing goes on"
    rows = [_row(client, run) for run in runs]
    spare = ("MACHINE", "TOKENS/S", "REASON")
    return f"{head}{f' (the newest {MOST})' if len(runs) == MOST else ''}\n\n{table(rows, spare=spare)}"


def _row(client: Client, run: Run) -> dict[str, str]:
    from orchestrator.cli.progress import figures_of
    from orchestrator.runs import Status

    figures = figures_of(client, run) if run.status is Status.TRAINING else None
    left = figures.seconds_left if figures else None
    rate = figures.tokens_per_second if figures else None
    share = f"{run.step / run.total_steps:.0%}" if run.step is not None and run.total_steps else ""
    return {
        "NAME": run.id,
        "STATUS": run.status.value,
        "REASON": run.reason.value if run.reason else "",
        "MACHINE": run.machine,
        "DONE": share,
        "LOSS": "" if run.loss is None else f"{run.loss:.4f}",
        "TOKENS/S": "" if rate is None else f"{rate:,.0f}",
        "LEFT": "" if left is None else duration(left),
        "AGE": age(time.time() - run.created),
    }
