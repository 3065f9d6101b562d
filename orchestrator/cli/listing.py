"""Groups of commands that list what they are about where no command is named."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


class Listing(click.Group):
    """`axo models` is `axo models list`, options included: the help tells them once, under `list`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(context, ["list", *args] if self._lists(context, args) else args)

    def _lists(self, context: click.Context, args: list[str]) -> bool:
        if context.resilient_parsing or {"-h", "--help"} & set(args):
            return False
        return not args or (args[0].startswith("-") and not set(args) & set(self.commands))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(context, incomplete)
        if incomplete.startswith("-"):
            own = {item.value for item in found}
            found += [
                item
                for item in self.commands["list"].shell_complete(context, incomplete)
                if item.value not in own
            ]
        return found
