"""The command line. Each command is a file of its own, imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from orchestrator import __version__
from orchestrator.errors import OrchestratorError, StorageError

COMMANDS = ("check", "plan", "run", "get", "logs", "cancel", "publish", "verify")


class Lazy(click.Group):
    """A group whose commands are found by file name, so that `--help` loads none of them."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"orchestrator.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SENTENCES.items()))


SENTENCES = {
    "check": "Prove a spec and its data: verdicts, tokens, every fault at once.",
    "plan": "Show what a run would do: config, steps, tokens, what is published.",
    "run": "Run a spec to its published adapter, or go on with its unfinished run.",
    "get": "List runs, or show one.",
    "logs": "Print what a run's attempts printed.",
    "cancel": "Stop a run; its newest checkpoint stays.",
    "publish": "Push a finished adapter to the registries that lack it.",
    "verify": "Re-read what was published and compare digests.",
}


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="axo")
@click.option("--debug", is_flag=True, envvar="AXO_DEBUG", help="Show the traceback of an error.")
def axo(debug: bool) -> None:
    """Fine-tune a model from a short spec.

    Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 the run failed, 2 wrong
    usage, 3 faults in spec, data or settings, 4 a server or storage cannot be used, 5 not found,
    130 interrupted.
    """


def main() -> None:
    """The one place where an error becomes words and an exit code."""
    try:
        axo.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OrchestratorError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except OSError as error:
        _explain(StorageError(f"{error.filename or 'storage'}: {error.strerror or error}"))
        sys.exit(StorageError.exit_code)
    except Exception as error:
        _explain_bug(error)
        sys.exit(1)


def _debugging() -> bool:
    import os

    return "--debug" in sys.argv or bool(os.environ.get("AXO_DEBUG"))


def _explain(error: OrchestratorError) -> None:
    if _debugging():
        sys.excepthook(type(error), error, error.__traceback__)
    click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)
    if error.hint:
        click.echo(click.style("hint:  ", fg="cyan") + error.hint, err=True)


def _explain_bug(error: Exception) -> None:
    if _debugging():
        sys.excepthook(type(error), error, error.__traceback__)
        return
    click.echo(click.style("error: ", fg="red", bold=True) + f"{type(error).__name__}: {error}", err=True)
    click.echo("This is a fault of axo itself; `axo --debug ...` shows where. Please report it.", err=True)
