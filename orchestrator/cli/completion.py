"""`axo completion`: what a shell needs to complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from orchestrator.cli.frame import Frame
from orchestrator.cli.names import model_names, run_names

_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/axo.fish"}


class RunName(click.types.StringParamType):
    """The id or name of a run; with `models` also the reference of what was published."""

    name = "run"

    def __init__(self, *, models: bool = False) -> None:
        self._models = models

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        frame = context.find_root().obj
        service = frame.context if isinstance(frame, Frame) else None
        found = run_names(incomplete, service)
        if self._models:
            found += model_names(incomplete, service)
        return [CompletionItem(name, help=told) for name, told in found]


RUN, RUN_OR_MODEL = RunName(), RunName(models=True)


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
