"""`axo datasets`: what runs were trained on."""

from __future__ import annotations

import time

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.output import age, note, output_option, print_data, table


@click.command("datasets")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Datasets.")
@output_option("table", "wide", "json", "yaml", "name")
def command(limit: int, form: str) -> None:
    """List the prepared datasets, the last used first.

    \b
    Examples:
      axo datasets
      axo datasets -o wide
    """
    with connected() as client:
        datasets = client.datasets(limit)
    if form == "name":
        for dataset in datasets:
            click.echo(dataset.digest)
    elif form in ("json", "yaml"):
        print_data([dataset.model_dump(mode="json") for dataset in datasets], form)
    elif not datasets:
        note("no dataset is prepared yet")
    else:
        wide = form == "wide"
        rows = [
            {
                "DIGEST": dataset.digest if wide else dataset.digest[:12],
                "ROWS": f"{dataset.rows:,}",
                "HELD-OUT": f"{dataset.validation_rows:,}",
                "TOKENS": "" if dataset.tokens is None else f"{dataset.tokens:,}",
                "RUNS": ",".join(dataset.runs) if wide else str(len(dataset.runs)),
                "NEWEST": dataset.runs[0],
                "AGE": age(time.time() - dataset.used),
            }
            for dataset in datasets
        ]
        click.echo(table(rows, width=10_000 if wide else None))
