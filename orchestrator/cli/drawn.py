"""Lines that stand at the end of stderr for a while: drawn, drawn anew, and taken away for what is said."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

import click

_standing: list[str] = []
drawing = threading.RLock()  # a service inside the command has threads of its own that have things to say


def draw(lines: Sequence[str]) -> None:
    """Show these lines, in place of those that stand there; each is short enough for the terminal."""
    with drawing:
        if lines == _standing:
            return
        erase()
        click.echo("\n".join(lines), err=True, nl=False)
        sys.stderr.flush()
        _standing[:] = lines


def erase() -> None:
    """Take away what stands there; the cursor is at the end of its last line."""
    with drawing:
        if _standing:
            sys.stderr.write("\r\x1b[2K" + "\x1b[1A\x1b[2K" * (len(_standing) - 1))
            sys.stderr.flush()
            _standing.clear()
