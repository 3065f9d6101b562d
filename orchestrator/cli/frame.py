"""What all commands share: their groups, close names, and variables for their options."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.nearest import nearest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS: Mapping[str, Mapping[str, str]] = {
    "Write and prove a spec": {
        "init": "Look at data and write a first, commented spec for it.",
        "clone": "Write the spec of a run as a new one, changed.",
        "mappings": "List and keep mappings that specs name.",
        "schema": "Print the JSON Schema of a spec or of the settings.",
        "explain": "Tell what a key or field is, and its value in a spec.",
        "check": "Prove a spec and its data: verdicts, tokens, all faults.",
        "plan": "Show what a run would do: config, steps, tokens.",
    },
    "Run": {
        "run": "Run a spec to its published adapter, or go on with it.",
        "submit": "Hand a spec to the service, data and all.",
        "pause": "Stop a run for now, after a checkpoint.",
        "resume": "Go on with a run that was paused or let go of.",
        "cancel": "Stop a run for good; keep its best or last adapter.",
        "delete": "Delete runs that have ended, and all they left.",
    },
    "Look": {
        "get": "List runs, or show how one stands.",
        "describe": "Tell everything about one run.",
        "compare": "Show runs side by side: results, spec, data, losses.",
        "events": "Print what happened to a run, and go on doing so.",
        "logs": "Print what a run's attempts printed.",
        "top": "Show what goes on, how far it is and how fast.",
    },
    "Results": {
        "publish": "Push a finished adapter to registries that lack it.",
        "models": "List what was published; pin it, or prove it.",
        "datasets": "List and delete prepared data and uploads.",
        "try": "Ask an adapter and its base model, side by side.",
        "pull": "Fetch an adapter, and the command that serves it.",
        "verify": "Re-read what was published and compare digests.",
    },
    "Service": {
        "login": "Make a context of a service, and use it.",
        "context": "List, show and choose the services to speak to.",
        "serve": "Serve the API and drive runs for a team.",
        "doctor": "Look whether everything a run needs is there.",
        "admin": "Look after a service: keys, audit log, database.",
        "machines": "List the machines that a spec may name.",
        "completion": "Print what your shell needs to complete axo.",
    },
}
SENTENCES = {name: sentence for group in GROUPS.values() for name, sentence in group.items()}


@dataclass
class Frame:
    """What the options before and after the command's name say of this call as a whole.

    `color` is click's: False for never, None for where the stream is a terminal. `context` names the
    service to speak to, None for the current one.
    """

    debug: bool = False
    color: bool | None = None
    json_errors: bool = False
    context: str | None = None


class Commands(click.Group):
    """A group whose commands are modules of this package, imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(SENTENCES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in SENTENCES:
            return None
        command: click.Command = importlib.import_module(f"orchestrator.cli.{name}").command
        return _dressed(command, name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in SENTENCES and not name.startswith("-") and not context.resilient_parsing:
            raise click.UsageError(f"there is no command {name!r}{did_you_mean(name, SENTENCES)}", context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, SENTENCES))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), sentence) for name, sentence in commands.items()])


def did_you_mean(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """`; did you mean X?` for the closest known word, or nothing."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def variable_of(command: str, option: click.Option) -> str:
    """The environment variable of an option: `AXO_RUN_NEW` for `--new` of `run`."""
    longest = max(option.opts, key=len).lstrip("-")
    return re.sub(r"\W", "_", f"AXO_{command}_{longest}").upper()


def frame_options(hidden: bool = False) -> list[click.Parameter]:
    """`--debug`, `--no-color` and `--context`, which may stand before the command's name and after it."""
    flags = (
        ("--debug", _take_debug, "Show the traceback of an error."),
        ("--no-color", _take_color, "Print no colours, as with NO_COLOR set."),
    )
    context = click.Option(
        ["--context"],
        metavar="NAME",
        envvar=None if hidden else "AXO_CONTEXT",
        hidden=hidden,
        expose_value=False,
        is_eager=True,
        callback=_take_context,
        shell_complete=complete_context,
        help="The service to speak to (`axo context list`).",
    )
    return [
        context,
        *(
            click.Option(
                [flag],
                is_flag=True,
                envvar=None if hidden else f"AXO_{flag.removeprefix('--').replace('-', '_').upper()}",
                hidden=hidden,
                expose_value=False,
                is_eager=True,
                callback=callback,
                help=sentence,
            )
            for flag, callback, sentence in flags
        ),
    ]


def complete_context(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The contexts there are, for a key press."""
    from click.shell_completion import CompletionItem

    from orchestrator.cli.names import context_names

    return [CompletionItem(name, help=url) for name, url in context_names(incomplete)]


def checked_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A name of a project, a key or a context, refused where it is none."""
    from orchestrator.spec.base import NAME_PATTERN

    if value is not None and not re.fullmatch(NAME_PATTERN, value):
        raise click.BadParameter("use lower-case letters, digits and - inside, 48 characters at most")
    return value


def can_ask() -> bool:
    """Whether somebody is there to answer: a terminal on both ends, and not in CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def _take_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    frame: Frame = context.find_root().ensure_object(Frame)
    frame.debug = frame.debug or value


def _take_context(context: click.Context, _: click.Parameter, value: str | None) -> None:
    frame: Frame = context.find_root().ensure_object(Frame)
    frame.context = value or frame.context


def _take_color(context: click.Context, _: click.Parameter, value: bool) -> None:
    frame: Frame = context.find_root().ensure_object(Frame)
    if value or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        frame.color = False
    context.color = frame.color


def _dressed(command: click.Command, name: str) -> click.Command:
    """The command with a variable for each option, told in its help, and the options of the frame; so are
    those of a group."""
    if any(parameter.name == "debug" for parameter in command.params):
        return command
    options = [option for option in command.params if isinstance(option, click.Option)]
    for option in options:
        option.envvar = variable_of(name, option)
    if options:
        example = variable_of(name, options[0])
        command.epilog = f"Options may stand in environment variables too, such as {example}."
    command.params += frame_options(hidden=True)
    for each in command.commands.values() if isinstance(command, click.Group) else ():
        _dressed(each, f"{name} {each.name}")
    return command
