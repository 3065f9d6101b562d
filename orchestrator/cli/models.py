"""`axo models`: what was published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.output import age, note, output_option, print_data, table

if TYPE_CHECKING:
    pass


@click.command("models")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Versions.")
@output_option("table", "wide", "json", "yaml", "name")
def command(limit: int, form: str) -> None:
    """List the published versions, newest first.

    \b
    Examples:
      axo models
      axo models -o name | head -1
    """
    with connected() as client:
        models = client.models(limit)
    if form == "name":
        for model in models:
            click.echo(model.reference)
    elif form in ("json", "yaml"):
        print_data([model.model_dump(mode="json") for model in models], form)
    elif not models:
        note("nothing is published yet")
    else:
        wide = form == "wide"
        rows = [
            {
                "NAME": model.reference,
                "RUN": model.run,
                **(
                    {"BASE-MODEL": model.base_model, "DIGEST": model.digest, "URL": model.url} if wide else {}
                ),
                "AGE": age(time.time() - model.time),
            }
            for model in models
        ]
        click.echo(table(rows, width=10_000 if wide else None))
