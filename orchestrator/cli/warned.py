"""What the service inside a command warns of, told to whoever watches the run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.cli.output import note
from orchestrator.service_log import Once, words_of

AGAIN_SECONDS = 600.0


class Notes(logging.Handler):
    """One line for each warning, beside the live view and not through it."""

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("orchestrator.api") or record.exc_info:  # else the command says it
            note(words_of(record))


@contextmanager
def warnings_noted() -> Iterator[None]:
    """Note warnings for the length of a `with` block; what goes on is told every ten minutes."""
    handler = Notes(logging.WARNING)
    handler.addFilter(Once(seconds=AGAIN_SECONDS))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
