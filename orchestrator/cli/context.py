"""`axo context`: the services that commands speak to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import spoken_to
from orchestrator.cli.frame import complete_context
from orchestrator.cli.output import fields, note, output_option, print_data, print_list

if TYPE_CHECKING:
    from orchestrator.client.contexts import Context


@click.group("context", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show the service that commands speak to; list and choose among those there are.

    \b
    Examples:
      axo context
      axo context list
      axo context use local
    """
    if context.invoked_subcommand is None:
        context.invoke(show)


@command.command("show")
@output_option("table", "json", "yaml", "name")
def show(form: str = "table") -> None:
    """Show the service that commands speak to now."""
    found = spoken_to()
    if form == "name":
        click.echo(found.name)
    elif form in ("json", "yaml"):
        print_data(_plain(found, current=True), form)
    else:
        click.echo(fields({"context": found.name, "service": _service(found), "key": _key(found)}))


@command.command("list")
@output_option("table", "json", "yaml", "name")
def list_contexts(form: str) -> None:
    """List the services there are; `*` marks the current one."""
    from orchestrator.client.contexts import read_contexts

    contexts = read_contexts()
    print_list(
        list(contexts.known.values()),
        form,
        name=lambda each: each.name,
        data=lambda each: _plain(each, current=each.name == contexts.current),
        row=lambda each: _row(each, each.name == contexts.current),
    )


@command.command("use", short_help="Choose the service to speak to.")
@click.argument("name", shell_complete=complete_context)
def use(name: str) -> None:
    """Speak to the service of the context NAME from now on; `local` is the one of this machine."""
    from orchestrator.client.contexts import read_contexts

    contexts = read_contexts().with_current(name)
    contexts.write()
    note(f"commands speak to {_service(contexts.named(name))} now")


@command.command("remove")
@click.argument("name", shell_complete=complete_context)
def remove(name: str) -> None:
    """Forget the context NAME and its key."""
    from orchestrator.client.contexts import read_contexts

    read_contexts().without(name).write()
    note(f"forgot {name}")


def _service(context: Context) -> str:
    return context.url or "the service of this machine"


def _key(context: Context) -> str | None:
    """Enough of a key to know it by, or where tokens come from."""
    if context.token_command:
        return f"from `{context.token_command}`"
    return f"{context.key[:8]}…" if context.key else None


def _row(context: Context, current: bool) -> dict[str, str]:
    name = f"{context.name}*" if current else context.name
    return {"NAME": name, "SERVICE": _service(context), "KEY": _key(context) or ""}


def _plain(context: Context, *, current: bool) -> dict[str, object]:
    return {"name": context.name, "url": context.url, "key": _key(context), "current": current}
