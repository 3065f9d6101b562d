"""`axo datasets`: what runs were trained on, and what was uploaded for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import DATASET, DATASET_OR_UPLOAD
from orchestrator.cli.connection import connected
from orchestrator.cli.frame import can_ask
from orchestrator.cli.listing import Listing
from orchestrator.cli.output import fields, note, output_option, print_data, print_list
from orchestrator.cli.units import age, size
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Dataset, File

SHORTEST = 8


@dataclass(frozen=True)
class Named:
    """Something of the project that is named by a digest."""

    digest: str
    size: int | None
    created: float
    delete: Callable[[str], None]
    dataset: Dataset | None = None

    @property
    def what(self) -> str:
        return "dataset" if self.dataset else "upload"

    def __str__(self) -> str:
        taken = "" if self.size is None else f"{size(self.size)}, "
        return f"{self.what} {self.digest[:12]}: {taken}{age(time.time() - self.created)} old"


@click.group("datasets", cls=Listing)
def command() -> None:
    """List the prepared datasets, the last used first; look at one, delete it; uploaded files too.

    \b
    Examples:
      axo datasets
      axo datasets show 5f2a91c0
      axo datasets uploads
    """


@command.command("list", short_help="List them; so does `axo datasets` alone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Datasets.")
@output_option("table", "wide", "json", "yaml", "name")
def list_datasets(limit: int, form: str) -> None:
    """List the prepared datasets, as `axo datasets` alone does, with the same options.

    \b
    Examples:
      axo datasets list
      axo datasets -o name | head -1
    """
    with connected() as client:
        datasets = client.datasets(limit)
    wide = form == "wide"
    print_list(
        datasets,
        form,
        name=lambda dataset: dataset.digest,
        row=lambda dataset: _row(dataset, wide=wide),
        nothing="no dataset is prepared yet",
        spare=("HELD-OUT",),
    )


@command.command("show", short_help="Show one prepared dataset.")
@click.argument("name", metavar="DATASET", type=DATASET)
@output_option("table", "json", "yaml")
def show(name: str, form: str) -> None:
    """Show a prepared dataset, named by its digest or the first eight characters of it or more.

    \b
    Example:
      axo datasets show 5f2a91c0
    """
    with connected() as client:
        found = _meant(name, [each for each in _all(client) if each.dataset])
        dataset = client.dataset(found.digest)
    if form != "table":
        print_data(dataset.model_dump(mode="json"), form)
        return
    click.echo(fields(_details(dataset)))


@command.command("uploads", short_help="List uploaded files.")
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
        row=lambda file: _file(file, wide=wide),
        nothing="nothing is uploaded",
    )


@command.command("delete", short_help="Delete datasets and uploaded files.")
@click.argument("names", metavar="DIGEST...", type=DATASET_OR_UPLOAD, nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete(names: Sequence[str], yes: bool) -> None:
    """Delete prepared datasets and uploaded files, by their digests or the first eight characters or more.

    What a run that has not ended needs is refused. Models and records of ended runs stay; a run that needs a
    deleted dataset again prepares it again.

    \b
    Example:
      axo datasets delete 5f2a91c0
    """
    if not yes and not can_ask():
        raise click.UsageError("nobody is here to be asked: give --yes")
    with connected() as client:
        there = _all(client)
        found = list({each.digest: each for each in (_meant(name, there) for name in names)}.values())
        for each in found:
            note(str(each))
        if not yes:
            what = f"this {found[0].what}" if len(found) == 1 else f"these {len(found)}"
            click.confirm(f"Delete {what} for ever?", abort=True, err=True)
        for each in found:
            each.delete(each.digest)
            click.echo(f"{each.digest} deleted")


def _all(client: Client) -> list[Named]:
    """The newest thousand datasets, then as many uploads."""
    datasets = [
        Named(each.digest, each.size, each.created or each.used, client.delete_dataset, each)
        for each in client.datasets(1000)
    ]
    files = [Named(each.sha256, each.size, each.created, client.delete_file) for each in client.files(1000)]
    return datasets + files


def _meant(name: str, there: Sequence[Named]) -> Named:
    """The one whose digest begins so.

    Raises:
        NotFoundError: there is none.
        UsageError: there are several, or the beginning is too short to be meant.
    """
    if len(name) < SHORTEST:
        raise click.UsageError(f"{name!r} is too short: give {SHORTEST} characters of its digest or more")
    found = [each for each in there if each.digest.startswith(name)]
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} digests begin with {name}: give more of it")
    if not found:
        hint = "`axo datasets` and `axo datasets uploads` list what there is"
        raise NotFoundError(f"there is no dataset or upload {name}", hint=hint)
    return found[0]


def _file(file: File, *, wide: bool) -> dict[str, str]:
    return {
        "UPLOAD": file.sha256 if wide else file.sha256[:12],
        "SIZE": size(file.size),
        "STATE": "whole" if file.complete else f"{len(file.missing)} parts missing",
        "AGE": age(time.time() - file.created),
    }


def _row(dataset: Dataset, *, wide: bool) -> dict[str, str]:
    return {
        "DIGEST": dataset.digest if wide else dataset.digest[:12],
        "ROWS": f"{dataset.rows:,}",
        "HELD-OUT": f"{dataset.validation_rows:,}",
        "TOKENS": "" if dataset.tokens is None else f"{dataset.tokens:,}",
        "SIZE": "" if dataset.size is None else size(dataset.size),
        "RUNS": ",".join(dataset.runs) if wide else str(len(dataset.runs)),
        "NEWEST": dataset.runs[0] if dataset.runs else "",
        "AGE": age(time.time() - dataset.used),
    }


def _details(dataset: Dataset) -> dict[str, str | None]:
    trained = "" if dataset.trained_tokens is None else f", {dataset.trained_tokens:,} of them trained on"
    return {
        "digest": dataset.digest,
        "rows": f"{dataset.rows:,}, {dataset.validation_rows:,} held out",
        "tokens": None if dataset.tokens is None else f"{dataset.tokens:,}{trained}",
        "size": None if dataset.size is None else size(dataset.size),
        "used": f"{age(time.time() - dataset.used)} ago",
        "runs": " ".join(dataset.runs) or "all deleted",
    }
