"""`axo models`: what was published."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.output import age, output_option, print_list

if TYPE_CHECKING:
    from orchestrator.wire import Model


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
    wide = form == "wide"
    print_list(
        models,
        form,
        name=lambda model: model.reference,
        data=lambda model: model.model_dump(mode="json"),
        row=lambda model: _row(model, wide=wide),
        nothing="nothing is published yet",
    )


def _row(model: Model, *, wide: bool) -> dict[str, str]:
    more = {"BASE-MODEL": model.base_model, "DIGEST": model.digest, "URL": model.url}
    return {
        "NAME": model.reference,
        "RUN": model.run,
        **(more if wide else {}),
        "AGE": age(time.time() - model.time),
    }
