"""`axo pull`: a finished adapter, on this machine, and the command that serves it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.completion import RUN_OR_MODEL
from orchestrator.cli.connection import connected
from orchestrator.cli.files import naming
from orchestrator.cli.moved import Moved
from orchestrator.cli.output import fields, note, output_option, print_data

if TYPE_CHECKING:
    from orchestrator.client.pull import Pulled


@click.command("pull")
@click.argument("name", metavar="NAME", type=RUN_OR_MODEL)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@output_option("table", "json", "yaml")
def command(name: str, folder: Path | None, form: str) -> None:
    """Fetch the adapter of the run NAME into FOLDER, every file verified.

    NAME may also be a version in MLflow's registry. FOLDER is named after it if left out; one that
    holds something is left alone. The command that serves it with vLLM is printed, where vLLM can.

    \b
    Examples:
      axo pull support-triage
      axo pull models:/support-triage@candidate adapter
    """
    from orchestrator.client.pull import pull_run, pull_version
    from orchestrator.settings import Settings

    if name.startswith("models:/"):
        pulled = pull_version(Settings.from_environment(), name, folder or Path(_folder_for(name)))
    else:
        with connected() as client, naming(folder or Path(name)), Moved("fetched") as progress:
            pulled = pull_run(client, name, folder, progress.add)
    if form == "table":
        _tell(pulled)
    else:
        told = {**asdict(pulled), "folder": str(pulled.folder), "command": "\n".join(pulled.command) or None}
        print_data({**told, "notes": list(pulled.notes)}, form)


def _folder_for(reference: str) -> str:
    """`triage-3` for models:/triage/3."""
    return reference.removeprefix("models:/").replace("/", "-").replace("@", "-").strip(".-") or "adapter"


def _tell(pulled: Pulled) -> None:
    click.echo(
        fields(
            {
                "adapter": pulled.reference,
                "folder": str(pulled.folder),
                "files": f"{pulled.files}, {pulled.size / 1e6:,.1f} MB, each as its digest says",
                "digest": pulled.digest,
            }
        )
    )
    if pulled.command:
        click.echo("\nServe it with vLLM:\n")
        click.echo("\n".join(f"  {line}" for line in pulled.command))
        return
    from orchestrator.registries.serving import MERGE

    note("\nvLLM cannot serve it as it is:")
    for line in (*pulled.notes, MERGE):
        note(f"  {line}")
