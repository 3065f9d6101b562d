"""`axo models`: what was published, and what is kept."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.listing import Listing
from orchestrator.cli.output import note, output_option, print_list
from orchestrator.cli.units import age

if TYPE_CHECKING:
    from orchestrator.wire import Model


@click.group("models", cls=Listing)
def command() -> None:
    """List the published versions, newest first; pin a run's model, or prove it.

    \b
    Examples:
      axo models
      axo models pin support-triage-x7k2p
    """


@command.command("list", short_help="List them; so does `axo models` alone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Versions.")
@output_option("table", "wide", "json", "yaml", "name")
def list_models(limit: int, form: str) -> None:
    """List the published versions, newest first, as `axo models` alone does, with the same options.

    \b
    Examples:
      axo models list
      axo models -o name | head -1
    """
    with connected() as client:
        models = client.models(limit)
    wide = form == "wide"
    print_list(
        models,
        form,
        name=lambda model: model.reference,
        row=lambda model: _row(model, wide=wide),
        nothing="nothing is published yet",
    )


@command.command("pin", short_help="Keep a run and its files.")
@click.argument("name", metavar="NAME", type=RUN)
def pin(name: str) -> None:
    """Keep the run NAME and its files, also where its spec says `temporary`, until it is unpinned.

    \b
    Example:
      axo models pin support-triage-x7k2p
    """
    with connected() as client:
        run = client.pin(name)
    note(f"{run.id} is pinned: it cannot be deleted, and its files stay")


@command.command("unpin", short_help="Let a run be deleted and its files go.")
@click.argument("name", metavar="NAME", type=RUN)
def unpin(name: str) -> None:
    """Let the run NAME go its way again: it can be deleted, and a temporary one expires after a warning.

    \b
    Example:
      axo models unpin support-triage-x7k2p
    """
    with connected() as client:
        run = client.unpin(name)
    note(f"{run.id} is no longer pinned")


@command.command("verify", short_help="Re-read what was published of a run.")
@click.argument("name", metavar="NAME", type=RUN)
@output_option("table", "json", "yaml")
def verify(name: str, form: str) -> None:
    """Do as `axo verify NAME` does: re-read what was published of a run, and compare digests.

    \b
    Example:
      axo models verify support-triage
    """
    from orchestrator.cli.verify import prove

    sys.exit(1 if prove(name, form) else 0)


def _row(model: Model, *, wide: bool) -> dict[str, str]:
    more = {"BASE-MODEL": model.base_model, "DIGEST": model.digest, "URL": model.url}
    return {
        "NAME": model.reference,
        "RUN": model.run,
        **(more if wide else {}),
        "AGE": age(time.time() - model.time),
    }
