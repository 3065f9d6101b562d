"""`axo serve`: the service, for clients on this machine and elsewhere."""

from __future__ import annotations

import sys

import click

from orchestrator.cli.output import note


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8520, show_default=True, help="Its port.")
def command(host: str, port: int) -> None:
    """Serve the API and drive runs, until it is told to stop. What happens is logged to stderr.

    \b
    Example:
      axo serve --port 8520
    """
    from orchestrator.host import open_host, serve
    from orchestrator.service_log import log_to
    from orchestrator.settings import Settings

    log_to(sys.stderr)
    with open_host(Settings.from_environment()) as opened:
        serve(opened, host, port, lambda url: note(f"axo serves {url}"))
