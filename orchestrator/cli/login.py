"""`axo login`: a context of a service, with the key to it."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import click

from orchestrator.cli.frame import can_ask, checked_name
from orchestrator.cli.output import note


@click.command("login")
@click.argument("url", metavar="URL")
@click.option("--name", callback=checked_name, help="Name of the context; that of the host if left out.")
@click.option(
    "--project", callback=checked_name, help="The project that is meant, for a token that opens several."
)
@click.option("--key-stdin", is_flag=True, help="Read the key from stdin.")
@click.option("--token-command", metavar="COMMAND", help="Have this print a token whenever one is needed.")
def command(
    url: str, name: str | None, project: str | None, key_stdin: bool, token_command: str | None
) -> None:
    """Speak to the service at URL from now on.

    It asks for a key, which an admin of the service makes, or a token of its identity provider; Enter for
    a service without keys. What you give is tried, then kept in $AXO_HOME/config.yaml, which nobody but you
    can read.

    \b
    Examples:
      axo login https://axo.example
      axo login https://axo.example --name team --key-stdin < key.txt
      axo login https://axo.example --token-command "sso token --audience axo"
    """
    if key_stdin and token_command:
        raise click.UsageError("give --key-stdin or --token-command, not both")
    if name == "local":
        raise click.UsageError("the context `local` is the service of this machine: give another --name")
    from orchestrator.client import Client
    from orchestrator.client.contexts import Context, checked_url, read_contexts

    contexts, url = read_contexts(), checked_url(url)
    key = None if token_command else _key(key_stdin)
    context = Context(name or name_of(url), url, key, project, token_command)
    with Client(url, context.credential, project=context.project) as client:
        client.patience.away = 0.0
        list(client.runs(limit=1))
    contexts.with_context(context).with_current(context.name).write()
    note(f"commands speak to {url} now, as the context {context.name}")
    note("  back to this machine:  axo context use local")


def _key(from_stdin: bool) -> str | None:
    if from_stdin:
        return sys.stdin.readline().strip() or None
    if not can_ask():
        return None
    return click.prompt("key", default="", hide_input=True, show_default=False, err=True).strip() or None


def name_of(url: str) -> str:
    """What the context of a service is called where nobody names it."""
    host = (urlsplit(url).hostname or "service").lower()
    name = "".join(each if each.isascii() and each.isalnum() else "-" for each in host).strip("-")
    named = name if name[:1].isalpha() and name != "local" else f"service-{name}"
    return named[:48].rstrip("-")
