"""Services that commands may speak to: contexts, by name, in a file of this user's own.

    current: team
    contexts:
      team: {url: "https://axo.example", key: axo_..., project: triage}
      work: {url: "https://axo.work", token_command: oidc-token work}

It lies at `$AXO_HOME/config.yaml`, readable by its owner alone. The context `local`, always there, is
the service embedded in the command itself. `AXO_URL`, `AXO_KEY` or `AXO_TOKEN_COMMAND`, and
`AXO_PROJECT` stand for a context of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from orchestrator.errors import NotFoundError, SettingsError
from orchestrator.home import home_of
from orchestrator.nearest import did_you_mean
from orchestrator.spec.base import Closed, Name
from orchestrator.spec.file import read_file

if TYPE_CHECKING:
    from orchestrator.client.credential import TokenCommand

LOCAL = "local"
_ENVIRONMENT = "(AXO_URL)"


@dataclass(frozen=True)
class Context:
    """A service: its name here, its URL (None for the embedded one), the key or token to it or the command
    that prints one, and the project that is meant where it opens several."""

    name: str
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    project: str | None = None
    token_command: str | None = None

    @property
    def credential(self) -> str | TokenCommand | None:
        """What a client is given."""
        from orchestrator.client.credential import TokenCommand

        return TokenCommand(self.token_command) if self.token_command else self.key


class ContextEntry(Closed):
    """A context as the file has it."""

    url: Annotated[str, StringConstraints(max_length=2000)] = Field(description="Where the service is.")
    key: Annotated[str, StringConstraints(max_length=20_000)] | None = Field(
        default=None, description="The key to it, or a token of its identity provider."
    )
    project: Name | None = Field(default=None, description="The project, where the token opens several.")
    token_command: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        default=None, description="A command that prints a token, in place of `key`."
    )


class ContextsFile(Closed):
    """The file of contexts."""

    current: Name = Field(default=LOCAL, description="The context that commands speak to.")
    contexts: dict[Name, ContextEntry] = Field(default={}, max_length=1000, description="Contexts by name.")


@dataclass(frozen=True)
class Contexts:
    """The contexts of a user; one changes them by making the next and writing it."""

    file: Path
    current: str = LOCAL
    known: Mapping[str, Context] = field(default_factory=lambda: {LOCAL: Context(LOCAL)})

    def named(self, name: str) -> Context:
        """Raises NotFoundError with the name that may be meant."""
        if name in self.known:
            return self.known[name]
        hint = f"{did_you_mean(name, self.known)}`axo context list` tells them all, `axo login URL` makes one"
        raise NotFoundError(f"there is no context {name!r}", hint=hint)

    def with_current(self, name: str) -> Contexts:
        """With another one that commands speak to. Raises NotFoundError where there is none."""
        return replace(self, current=self.named(name).name)

    def with_context(self, context: Context) -> Contexts:
        """With one more context, or that one in place of the one of its name."""
        return replace(self, known={**self.known, context.name: context})

    def without(self, name: str) -> Contexts:
        """Without a context.

        Raises:
            NotFoundError: there is none of that name.
            SettingsError: it is that of this machine.
        """
        if self.named(name).name == LOCAL:
            raise SettingsError(f"the context `{LOCAL}` is the service of this machine, and stays")
        kept = {other: context for other, context in self.known.items() if other != name}
        return replace(self, known=kept, current=LOCAL if self.current == name else self.current)

    def write(self) -> None:
        """Replace the file; only its owner can read it. Raises SettingsError where it cannot be written."""
        import yaml

        entries = {
            context.name: {"url": context.url}
            | ({"key": context.key} if context.key else {})
            | ({"project": context.project} if context.project else {})
            | ({"token_command": context.token_command} if context.token_command else {})
            for context in self.known.values()
            if context.url is not None
        }
        text = yaml.safe_dump({"current": self.current, "contexts": entries}, sort_keys=False)
        fresh = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
                opened.write(text)
            fresh.replace(self.file)
        except OSError as error:
            what = f"{self.file} cannot be written: {error.strerror}"
            raise SettingsError(what, hint="set AXO_HOME to a folder you can write") from error


def read_contexts(environment: Mapping[str, str] | None = None) -> Contexts:
    """The contexts of this user.

    Raises:
        SettingsFileError: the file has faults.
        SettingsError: others can read it.
    """
    file = home_of(environment) / "config.yaml"
    if not file.is_file():
        return Contexts(file)
    if file.stat().st_mode & 0o077:
        raise SettingsError(f"{file} holds keys, and others than you can read it", hint=f"`chmod 600 {file}`")
    read = read_file(file, ContextsFile)
    known = {
        name: Context(name, entry.url, entry.key, entry.project, entry.token_command)
        for name, entry in read.contexts.items()
    }
    return Contexts(file, read.current, {LOCAL: Context(LOCAL), **known})


def chosen(name: str | None, environment: Mapping[str, str] | None = None) -> Context:
    """The context that a command speaks to: the one named, that of `AXO_URL`, or the current one.

    Raises:
        NotFoundError: there is none of that name.
        SettingsFileError, SettingsError: as `read_contexts` does.
    """
    values = os.environ if environment is None else environment
    if name is None and (url := values.get("AXO_URL")):
        variables = ("AXO_KEY", "AXO_PROJECT", "AXO_TOKEN_COMMAND")
        return Context(_ENVIRONMENT, checked_url(url), *(values.get(name) or None for name in variables))
    contexts = read_contexts(values)
    return contexts.named(name or contexts.current)


def checked_url(url: str) -> str:
    """A service's URL without its last slash.

    Raises:
        SettingsError: it is none, or holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{url!r} is no URL of a service", hint="write https://host, or http://host:port")
    if parts.username or parts.password:
        raise SettingsError("a key does not go into the URL", hint="`axo login URL` asks for it")
    return url.rstrip("/")
