"""`axo logs`: what a run's attempts printed, in order, also after their processes are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import note

if TYPE_CHECKING:
    from orchestrator.wire import LogPart


@click.command("logs")
@click.argument("name", metavar="NAME", type=RUN)
@click.option("-f", "--follow", is_flag=True, help="Go on, across attempts, until the run ends.")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt.")
@click.option("--tail", type=click.IntRange(0), help="Begin with this many of the newest lines.")
def command(name: str, follow: bool, attempt: int | None, tail: int | None) -> None:
    """Print the logs of the run NAME.

    What a launch said that died before its first attempt is among them.

    \b
    Examples:
      axo logs support-triage -f
      axo logs support-triage --attempt 2 --tail 50
    """
    with connected() as client:
        run = client.run(name).id
        shown = _print(client.logs(run), attempt, {}, tail)
        if follow:
            shown = _print(client.follow_logs(run, shown), attempt, shown, None)
    if not shown:
        note("nothing was printed yet" if attempt is None else f"attempt {attempt} has printed nothing")


def _print(
    parts: Iterable[LogPart], attempt: int | None, shown: Mapping[str, int], tail: int | None
) -> dict[str, int]:
    """Print parts, each text under its title; how many bytes of each were printed so far."""
    wanted = (part for part in parts if attempt in (None, part.attempt))
    seen = dict(shown)
    for part in wanted if tail is None else _newest(list(wanted), tail):
        if part.name not in seen:
            note(f"--- {_title(part)}")
        click.echo(part.text, nl=False)
        seen[part.name] = part.offset + part.size
    return seen


def _title(part: LogPart) -> str:
    if part.attempt is None:
        return f"launch {part.launch}, which ended before its first attempt"
    return f"attempt {part.attempt}"


def _newest(parts: Sequence[LogPart], lines: int) -> list[LogPart]:
    """The parts with only the last lines of their texts taken together."""
    kept: list[LogPart] = []
    for part in reversed(parts):
        split = part.text.splitlines(keepends=True)
        chosen = split[max(0, len(split) - lines) :]
        lines -= len(chosen)
        kept.append(part.model_copy(update={"text": "".join(chosen)}))
    return kept[::-1]
