"""`axo datasets`: what runs were trained on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.output import age, output_option, print_list

if TYPE_CHECKING:
    from orchestrator.wire import Dataset


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
    wide = form == "wide"
    print_list(
        datasets,
        form,
        name=lambda dataset: dataset.digest,
        data=lambda dataset: dataset.model_dump(mode="json"),
        row=lambda dataset: _row(dataset, wide=wide),
        nothing="no dataset is prepared yet",
    )


def _row(dataset: Dataset, *, wide: bool) -> dict[str, str]:
    return {
        "DIGEST": dataset.digest if wide else dataset.digest[:12],
        "ROWS": f"{dataset.rows:,}",
        "HELD-OUT": f"{dataset.validation_rows:,}",
        "TOKENS": "" if dataset.tokens is None else f"{dataset.tokens:,}",
        "RUNS": ",".join(dataset.runs) if wide else str(len(dataset.runs)),
        "NEWEST": dataset.runs[0],
        "AGE": age(time.time() - dataset.used),
    }
