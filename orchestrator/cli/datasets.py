"""`axo datasets`: what runs were trained on, and what was uploaded for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected
from orchestrator.cli.frame import can_ask
from orchestrator.cli.output import note, output_option, print_list
from orchestrator.cli.units import age
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.wire import Dataset, File

SHORTEST = 8


@click.group("datasets", invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Datasets.")
@output_option("table", "wide", "json", "yaml", "name")
@click.pass_context
def command(context: click.Context, limit: int, form: str) -> None:
    """List the prepared datasets, the last used first; list and delete uploaded files.

    \b
    Examples:
      axo datasets
      axo datasets -o wide
      axo datasets uploads
    """
    if context.invoked_subcommand is not None:
        return
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


@command.command("uploads")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Files.")
@output_option("table", "wide", "json", "yaml", "name")
def uploads(limit: int, form: str) -> None:
    """List the files that were uploaded for runs, the last announced first.

    \b
    Example:
      axo datasets uploads
    """
    with connected() as client:
        files = client.files(limit)
    wide = form == "wide"
    print_list(
        files,
        form,
        name=lambda file: file.sha256,
        data=lambda file: file.model_dump(mode="json"),
        row=lambda file: _file(file, wide=wide),
        nothing="nothing is uploaded",
    )


@command.command("delete")
@click.argument("files", metavar="UPLOAD...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete(files: Sequence[str], yes: bool) -> None:
    """Delete uploaded files, named by their SHA-256 or its first eight characters or more.

    One that a run has yet to read is refused. Prepared datasets stay: runs share them by their content.

    \b
    Example:
      axo datasets delete 5f2a91c0
    """
    if not yes and not can_ask():
        raise click.UsageError("nobody is here to be asked: give --yes")
    with connected() as client:
        there = client.files(1000)
        found = list({file.sha256: file for file in (_meant(name, there) for name in files)}.values())
        for file in found:
            note(f"{file.sha256[:12]}: {file.size / 1e6:,.1f} MB, {age(time.time() - file.created)} old")
        if not yes:
            what = "this file" if len(found) == 1 else f"these {len(found)} files"
            click.confirm(f"Delete {what} for ever?", abort=True, err=True)
        for file in found:
            client.delete_file(file.sha256)
            click.echo(f"{file.sha256} deleted")


def _meant(name: str, there: Sequence[File]) -> File:
    """The one upload whose digest begins so.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several, or the beginning is too short to be meant.
    """
    if len(name) < SHORTEST:
        raise click.UsageError(f"{name!r} is too short: give {SHORTEST} characters of its SHA-256 or more")
    found = [file for file in there if file.sha256.startswith(name)]
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} uploads begin with {name}: give more of it")
    if not found:
        raise NotFoundError(f"there is no upload {name}", hint="`axo datasets uploads` lists them")
    return found[0]


def _file(file: File, *, wide: bool) -> dict[str, str]:
    return {
        "UPLOAD": file.sha256 if wide else file.sha256[:12],
        "SIZE": f"{file.size / 1e6:,.1f} MB",
        "STATE": "whole" if file.complete else f"{len(file.missing)} parts missing",
        "AGE": age(time.time() - file.created),
    }


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
