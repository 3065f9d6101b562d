"""`axo completion`: what a shell needs to complete commands, options and names of runs."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import click
from click.shell_completion import CompletionItem

MOST = 50

_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/axo.fish"}


class RunName(click.types.StringParamType):
    """The id or name of a run, completed from the database of this home."""

    name = "run"

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(run, help=status) for run, status in newest_runs(incomplete)]


RUN = RunName()


def newest_runs(prefix: str) -> list[tuple[str, str]]:
    """Ids and statuses of the newest runs that begin with `prefix`; none where no database can be read.

    Read with the standard library alone: a key press has no time for anything larger.
    """
    home = Path(os.environ.get("AXO_HOME") or Path.home() / ".axo")
    file = (home / "axo.db").absolute()
    query = "SELECT id, status FROM runs WHERE substr(id, 1, ?) = ? ORDER BY created DESC LIMIT ?"
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=0.1)
        try:
            return connection.execute(query, (len(prefix), prefix, MOST)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return []


@click.command("completion")
@click.argument("shell", type=click.Choice(tuple(_FILES)))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete axo's commands, options and runs.

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
