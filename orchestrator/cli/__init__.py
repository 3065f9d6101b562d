"""The command line. Each command is a file of its own, imported when it is called."""

from __future__ import annotations

import os
import sys

import click

from orchestrator import __version__
from orchestrator.cli.failure import guarded
from orchestrator.cli.frame import Commands, Frame, frame_options


@click.group(cls=Commands, params=frame_options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="axo")
def axo() -> None:
    """Fine-tune a model from a short spec; `axo init DATA` writes the first one.

    Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 faults in spec, data or settings, 4 a server
    or storage cannot be used, 5 not found, 124 waited long enough, 130 interrupted.
    """


def main() -> None:
    """The entry point; a shell that asks for completions is answered by click."""
    frame, arguments = Frame(), sys.argv[1:]
    if "_AXO_COMPLETE" in os.environ:
        axo.main(prog_name="axo")
    sys.exit(guarded(lambda: _call(frame, arguments), frame, arguments))


def _call(frame: Frame, arguments: list[str]) -> None:
    """What click's own `main` does, less its taking a closed pipe for a failure."""
    with axo.make_context("axo", list(arguments), obj=frame) as context:
        axo.invoke(context)
