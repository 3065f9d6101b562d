"""`axo completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from orchestrator.cli.frame import Frame
from orchestrator.cli.names import Kind, names

_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/axo.fish"}


class NameOf(click.types.StringParamType):
    """The name of something of these kinds, as the service knows it."""

    name = "name"

    def __init__(self, *kinds: Kind) -> None:
        self._kinds = kinds

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        service = _context(context)
        found = [each for kind in self._kinds for each in names(kind, incomplete, service)]
        return [CompletionItem(name, help=told) for name, told in found]


class FieldIsName(click.types.StringParamType):
    """`FIELD=VALUE` of a spec, whose value is a name for some fields."""

    name = "field"
    _FIELDS: Mapping[str, Kind] = {"compute.machine": "machines", "mapping": "mappings"}

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        field, is_whole, prefix = incomplete.partition("=")
        if not is_whole or field not in self._FIELDS:
            return []
        found = names(self._FIELDS[field], prefix, _context(context))
        return [CompletionItem(f"{field}={name}", help=told) for name, told in found]


def _context(context: click.Context) -> str | None:
    frame = context.find_root().obj
    return frame.context if isinstance(frame, Frame) else None


RUN, RUN_OR_MODEL = NameOf("runs"), NameOf("runs", "models")
DATASET, DATASET_OR_UPLOAD, MAPPING = NameOf("datasets"), NameOf("datasets", "uploads"), NameOf("mappings")
CHANGE = FieldIsName()


@click.command("completion")
@click.argument("shell", type=click.Choice(tuple(_FILES)))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete axo's commands, options and names.

    \b
    Examples:
      axo completion bash >> ~/.bashrc
      axo completion zsh >> ~/.zshrc
      axo completion fish > ~/.config/fish/completions/axo.fish
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root, {}, "axo", "_AXO_COMPLETE").source())
