"""Drive a run from the command line until it ends, is let go of, or has been waited for long enough."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.failure import INTERRUPTED
from orchestrator.cli.output import fields, note, print_data
from orchestrator.errors import AuthError, RegistryError, UnreachableError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Event, Run, RunDetail

TICK_SECONDS = 1.0
SETTLE_SECONDS = 30.0
WAITED = 124

Command = TypeVar("Command", bound=Callable[..., Any])


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
    over = None if timeout is None else time.monotonic() + 60 * timeout
    newest = run
    try:
        with _let_go_when_hung_up():
            for newest in standings(client, run.id, watch=watch):
                if over is not None and time.monotonic() >= over and not newest.status.final:
                    _let_go(client, newest)
                    return WAITED
    except KeyboardInterrupt:
        _let_go(client, newest)
        return INTERRUPTED
    except (AuthError, UnreachableError):
        note(f"\n{newest.id} ({newest.status}) goes on without being watched")
        _say_how_to_come_back(newest)
        raise
    conclude(client, client.run(run.id), form)
    return 0 if newest.status in ("succeeded", "paused") else 1


def carried_out(client: Client, run: Run) -> Run:
    """Show a run until it stands as was asked of it, and how it stands then; Ctrl-C lets go of it."""
    newest = run
    try:
        with _let_go_when_hung_up():
            for newest in standings(client, run.id):  # noqa: B007
                pass
    except KeyboardInterrupt:
        _let_go(client, newest)
        raise
    return newest


def standings(client: Client, run_id: str, *, watch: bool | None = None, rests: bool = True) -> Iterator[Run]:
    """Show a run, and say every second or so how it stands, until it has ended and MLflow knows; until it
    is paused too, with `rests`.

    A service that goes away is waited for; an MLflow that stays away for long after the end is given up on.
    """
    from orchestrator.cli.progress import make_progress
    from orchestrator.client.patience import FOLLOW_SECONDS

    ended: float | None = None
    with make_progress(client, watch=watch) as progress, client.patience.of(FOLLOW_SECONDS):
        for newest in _followed(client, run_id, progress.tell):
            progress.show(newest)
            yield newest
            if rests and newest.status == "paused" and newest.intent == "pause":
                return
            if newest.status.final:
                ended = ended or time.monotonic()
                if newest.tracked or time.monotonic() - ended > SETTLE_SECONDS:
                    return


def _followed(client: Client, run_id: str, told: Callable[[Event], None]) -> Iterator[Run]:
    """How a run stands, by its stream; `told` hears of its newest event and of every later one."""
    from orchestrator.wire import Event

    newest: Run | None = None
    *_, last = client.events(run_id)
    told(last)
    with closing(client.follow(run_id, last.id, heartbeat=TICK_SECONDS)) as changes:
        for change in changes:
            if isinstance(change, Event):
                told(change)
                continue
            newest = change or newest
            if newest:
                yield newest


@contextmanager
def _let_go_when_hung_up() -> Iterator[None]:
    """A connection that is cut (SIGHUP) and SIGTERM let go of a run as Ctrl-C does, so that it is driven on.

    What ignores them, as under `nohup`, goes on ignoring them.
    """
    before = {each: signal.getsignal(each) for each in (signal.SIGHUP, signal.SIGTERM)}
    taken = [each for each, handler in before.items() if handler is signal.SIG_DFL]
    for each in taken:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def leave(client: Client, run: Run) -> None:
    """Say how to come back to a run that goes on without this process; an embedded service hands it to a
    process of its own first."""
    if client.embedded:
        keep_driving()
        note(f"a process of its own sees to {run.id}")
    _say_how_to_come_back(run)


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


def _let_go(client: Client, run: Run) -> None:
    if client.embedded:
        keep_driving()
    note("")
    note(f"let go of {run.id} ({run.status}); it goes on")
    _say_how_to_come_back(run)


def _say_how_to_come_back(run: Run) -> None:
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
    for found in _followed(client, run.id, lambda _: None):
        if found.status == "succeeded":
            break
        if found.status != "publishing" or (found.reason is not None and found.updated > run.updated):
            raise RegistryError(found.message or found.sentence, hint=found.advice)
    return client.run(run.id)
