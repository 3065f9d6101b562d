"""Drive a run from the command line until it ends, is let go of, or has been waited for long enough."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.output import fields, note, print_data
from orchestrator.errors import RegistryError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Run, RunDetail

LOOK_SECONDS = 0.5
SETTLE_SECONDS = 30.0
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
    client: Client,
    run: Run,
    form: str,
    *,
    watch: bool | None = None,
    detach: bool = False,
    timeout: float | None = None,
) -> int:
    """See a run through; the exit code: 0 done, 1 failed, 124 waited for long enough, 130 let go of."""
    if detach:
        leave(client, run)
        conclude(client, client.run(run.id), form)
        return 0
    try:
        run = watched(client, run.id, watch=watch, timeout=timeout)
    except (KeyboardInterrupt, _WaitOver) as error:
        _let_go(client, run.id)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else WAITED
    conclude(client, client.run(run.id), form)
    return 0 if run.status in ("succeeded", "paused") else 1


def watched(
    client: Client, run_id: str, *, watch: bool | None = None, timeout: float | None = None
) -> RunDetail:
    """Show a run until it has ended and MLflow knows, or rests; a server that stays away for long after
    the end is given up on."""
    from orchestrator.cli.progress import make_progress

    over = None if timeout is None else time.monotonic() + 60 * timeout
    patience = SETTLE_SECONDS
    with make_progress(client, watch=watch) as progress:
        while True:
            run = client.run(run_id)
            progress.show(run)
            rests = run.status == "paused" and run.intent == "pause"
            if rests or (run.status.final and (run.tracked or patience <= 0)):
                return run
            if run.status.final:
                patience -= LOOK_SECONDS
            elif over is not None and time.monotonic() >= over:
                raise _WaitOver
            time.sleep(LOOK_SECONDS)


def leave(client: Client, run: Run) -> None:
    """Say how to come back to a run that goes on without this process; an embedded service hands it to a
    process of its own first."""
    if client.embedded:
        keep_driving()
        note(f"a process of its own sees to {run.id}")
    note(f"  watch it:  axo get {run.id} -w")
    note(f"  stop it:   axo cancel {run.id}")


def keep_driving() -> None:
    """Start a process that drives this home's runs until none goes on; its words go to a file."""
    from orchestrator.settings import Settings

    log = Settings.from_environment().home / "local" / "driver.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        subprocess.Popen(
            [sys.executable, "-m", "orchestrator.host"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def _let_go(client: Client, run_id: str) -> None:
    run = client.run(run_id)
    if client.embedded:
        keep_driving()
    note("")
    note(f"let go of {run.id} ({run.status}); it goes on")
    note(f"  come back:  axo get {run.id} -w")
    note(f"  stop it:    axo cancel {run.id}")


def conclude(client: Client, run: RunDetail, form: str) -> None:
    """Print how a run stands, as the command's last words."""
    from orchestrator.cli.shown import next_commands, state_fields, summary

    if form == "name":
        click.echo(run.id)
    elif form != "table":
        print_data(summary(run), form)
    else:
        click.echo(fields(state_fields(client, run)))
        if run.status.final:
            note(f"next: {next(iter(next_commands(run)))}")
    if not run.tracked:
        note("MLflow lacks the end of this run, since it does not answer; the next `axo run` tells it")


def published_at_last(client: Client, run: Run) -> RunDetail:
    """Wait until an adapter is published.

    Raises:
        RegistryError: a registry is away, or refuses.
    """
    while True:
        found = client.run(run.id)
        tried = found.status != "publishing" or (found.reason is not None and found.updated > run.updated)
        if tried and found.status == "succeeded":
            return found
        if tried:
            raise RegistryError(found.message or found.sentence, hint=found.advice)
        time.sleep(LOOK_SECONDS)
