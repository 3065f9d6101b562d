"""Drive a run from the command line until it ends, is let go of, or has been waited for long enough."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.output import fields, note, print_data

if TYPE_CHECKING:
    from orchestrator.db import Run
    from orchestrator.service import Service

WAITED = 124
INTERRUPTED = 130

Command = TypeVar("Command", bound=Callable[..., Any])


class _WaitOver(Exception):
    """The time that somebody wanted to wait is over."""


def follow_options(command: Command) -> Command:
    """The options of the commands that bring a run to its end."""
    for option in (
        click.option(
            "--timeout", type=click.FloatRange(0), help="Wait this many minutes at most (exit code 124)."
        ),
        click.option("--detach", is_flag=True, help="Do not wait; a process of its own sees to it."),
        click.option(
            "--watch/--no-watch", default=None, help="A live view, or plain lines; by what stderr is."
        ),
    ):
        command = option(command)
    return command


def follow(
    service: Service, run: Run, form: str, *, watch: bool | None, detach: bool, timeout: float | None
) -> int:
    """See a run through; the exit code: 0 done, 1 failed, 124 waited for long enough, 130 let go of."""
    if detach:
        _leave_to_another(service, run)
        _conclude(service, run, form)
        return 0
    try:
        run = _driven(service, run, watch, timeout)
    except (KeyboardInterrupt, _WaitOver) as error:
        _let_go(service, run.id)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else WAITED
    _conclude(service, run, form)
    return 0 if run.status in ("succeeded", "paused") else 1


def _driven(service: Service, run: Run, watch: bool | None, timeout: float | None) -> Run:
    from orchestrator.cli.progress import make_progress

    end = None if timeout is None else time.monotonic() + 60 * timeout
    with make_progress(service, watch=watch) as progress:

        def show(seen: Run) -> None:
            progress.show(seen)
            if end is not None and not seen.status.final and time.monotonic() >= end:
                raise _WaitOver

        return service.drive(run.id, show)


def _leave_to_another(service: Service, run: Run) -> None:
    """Start a process that drives the run and outlives this one; its words go to a file."""
    log = service.settings.home / "local" / f"{run.id}.driver.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "resume", run.id, "--no-watch"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    note(f"a process of its own sees to {run.id}")
    note(f"  watch it:  axo get {run.id} -w")
    note(f"  stop it:   axo cancel {run.id}")


def _let_go(service: Service, run_id: str) -> None:
    run = service.database.run(run_id)
    note("")
    note(f"let go of {run.id} ({run.status}); what it started goes on")
    note(f"  come back:  axo resume {run.id}")
    note(f"  stop it:    axo cancel {run.id}")


def _conclude(service: Service, run: Run, form: str) -> None:
    from orchestrator.cli.shown import next_commands, state_fields, summary

    if form == "name":
        click.echo(run.id)
    elif form != "table":
        print_data(summary(service, run), form)
    else:
        click.echo(fields(state_fields(service, run)))
        if run.status.final:
            note(f"next: {next(iter(next_commands(run)))}")
    if service.tracking.behind(run):
        note(f"MLflow lacks the end of this run ({service.tracking.away}); the next `axo run` tells it")
