"""`axo logs`: what a run's attempts printed, in order, also after their processes are gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.drawn import draw, erase
from orchestrator.cli.log_lines import LogReader, newest_lines, shown
from orchestrator.cli.output import columns, cut, note

if TYPE_CHECKING:
    from orchestrator.wire import LogPart


@click.command("logs")
@click.argument("name", metavar="NAME", type=RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on, across attempts, until the run ends.")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt.")
@click.option("--tail", type=click.IntRange(0), help="Begin with this many of the newest lines.")
@click.option("--raw", is_flag=True, help="Every state of a progress bar, not its last one alone.")
def command(name: str, follow: bool, attempt: int | None, tail: int | None, raw: bool) -> None:
    """Print the logs of the run NAME.

    What a launch said that died before its first attempt is among them. A line that was written over, as
    progress bars are, shows in its last state, as on a terminal.

    \b
    Examples:
      axo logs support-triage -f
      axo logs support-triage --attempt 2 --tail 50
    """
    with connected(looking=True) as client:
        run = client.run(name).id
        reader = LogReader(attempt, raw)
        there = reader.read(client.logs(run), all_there=not follow)
        titled = _print(there if tail is None else newest_lines(list(there), tail))
        if follow:
            _print(_with_begun(reader, client.follow_logs(run, reader.seen)), titled)
    if not reader.seen:
        note("nothing was printed yet" if attempt is None else f"attempt {attempt} has printed nothing")


def _print(read: Iterable[tuple[LogPart, str]], titled: str | None = None) -> str | None:
    """Print texts, each under its title; the name of the last one."""
    for part, text in read:
        erase()
        if text and part.name != titled:
            note(f"--- {_title(part)}")
            titled = part.name
        click.echo(text, nl=False)
    return titled


def _with_begun(reader: LogReader, parts: Iterable[LogPart]) -> Iterator[tuple[LogPart, str]]:
    """What is read, and below it, on a terminal, the line that goes on."""
    for read in reader.read(parts, all_there=True):
        yield read
        if reader.begun and sys.stderr.isatty():
            draw([cut(shown(reader.begun), columns() - 1)])
    erase()


def _title(part: LogPart) -> str:
    if part.attempt is None:
        return f"launch {part.launch}, which ended before its first attempt"
    return f"attempt {part.attempt}"
