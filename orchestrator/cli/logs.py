"""`axo logs`: what a run's attempts printed, in order, also after their processes are gone."""

from __future__ import annotations

import sys
import time

import click


@click.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt.")
def command(name: str, follow: bool, attempt: int | None) -> None:
    """Print the logs of the run NAME.

    \b
    Examples:
      axo logs support-triage -f
      axo logs support-triage --attempt 2
    """
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    shown: dict[int, int] = {}
    with Service(Settings.from_environment()) as service:
        while True:
            final = service.database.run(name).status.final
            for number, data in service.logs(name):
                if attempt in (None, number):
                    _print_new(number, data, shown)
            if final or not follow:
                break
            time.sleep(1)
    if not shown:
        click.echo("nothing was printed yet", err=True)


def _print_new(number: int, data: bytes, shown: dict[int, int]) -> None:
    if number not in shown:
        click.echo(f"--- attempt {number}", err=True)
    fresh = data[shown.get(number, 0) :]
    shown[number] = len(data)
    sys.stdout.buffer.write(fresh)
    sys.stdout.buffer.flush()
