"""`axo logs`: what a run's attempts printed, in order, also after their processes are gone."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.output import note

if TYPE_CHECKING:
    from orchestrator.service import LogText, Service

FOLLOW_SECONDS = 1.0


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
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    with Service(Settings.from_environment()) as service:
        run = service.database.run(name).id
        shown = _print(service, run, attempt, {}, tail)
        while follow and not service.database.run(run).status.final:
            time.sleep(FOLLOW_SECONDS)
            shown = _print(service, run, attempt, shown, None)
        if follow:
            shown = _print(service, run, attempt, shown, None)  # what was written just before the end
    if not shown:
        note("nothing was printed yet" if attempt is None else f"attempt {attempt} has printed nothing")


def _print(
    service: Service, run: str, attempt: int | None, shown: dict[str, int], tail: int | None
) -> dict[str, int]:
    """Print what is new, each text under its title; how much of each was printed so far."""
    texts = {_title(text): text.data for text in service.logs(run) if attempt in (None, text.attempt)}
    fresh = {title: data[shown.get(title, 0) :] for title, data in texts.items()}
    for title, data in (fresh if tail is None else _newest(fresh, tail)).items():
        if title not in shown and data:
            note(f"--- {title}")
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return {title: len(data) for title, data in texts.items() if data or title in shown}


def _title(text: LogText) -> str:
    if text.attempt is None:
        return f"launch {text.launch}, which ended before its first attempt"
    return f"attempt {text.attempt}"


def _newest(texts: dict[str, bytes], lines: int) -> dict[str, bytes]:
    """The last lines of the texts taken together, the newest text last."""
    kept: dict[str, bytes] = {}
    for title, data in reversed(texts.items()):
        split = data.splitlines(keepends=True)
        chosen = split[max(0, len(split) - lines) :]
        lines -= len(chosen)
        kept[title] = b"".join(chosen)
    return dict(reversed(kept.items()))
