"""The log of a service, on stderr: one line for each thing with its time, and nothing over and over."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TextIO, TypeVar

from orchestrator.errors import OrchestratorError

AGAIN_SECONDS = 60.0
_MOST_KEPT = 1000

Stream = TypeVar("Stream", bound=TextIO)


def log_to(stream: Stream) -> logging.StreamHandler[Stream]:
    """Write what happens in the service, and warnings of the libraries under it; the handler that does so."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    handler.addFilter(Once())
    logging.getLogger().addHandler(handler)
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    return handler


class Lines(logging.Formatter):
    """`2026-11-30T04:29:00Z warning controller.ship: MLflow at .. cannot be reached`."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        where = record.name.removeprefix("orchestrator.")
        return f"{when} {record.levelname.lower()} {where}: {words_of(record)}"


class Once(logging.Filter):
    """Lets a warning through once in so many seconds; the next time it says how often it came meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, seconds: float = AGAIN_SECONDS) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()  # a handler asks its filters before it takes its own

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        with self._lock:
            more = self._more(self._clock(), (record.name, record.getMessage()))
        record.more = more
        return more is not None

    def _more(self, now: float, key: tuple[str, str]) -> int | None:
        """How often it came since it was let through; None where that was only just now."""
        since, times = self._last.get(key, (now - self._seconds, 0))
        if now - since < self._seconds:
            self._last[key] = (since, times + 1)
            return None
        self._forget(now)
        self._last[key] = (now, 0)
        return times

    def _forget(self, now: float) -> None:
        if len(self._last) >= _MOST_KEPT:
            kept = {key: last for key, last in self._last.items() if now - last[0] < self._seconds}
            self._last = kept if len(kept) < _MOST_KEPT else {}


def words_of(record: logging.LogRecord) -> str:
    """What a record says; of an error that is one of ours its words, of any other the traceback too."""
    said, error = _said(record), record.exc_info[1] if record.exc_info else None
    if isinstance(error, OrchestratorError):
        return f"{said}: {_on_one_line(str(error))}"
    return f"{said}\n{logging.Formatter().formatException(record.exc_info)}" if record.exc_info else said


def _said(record: logging.LogRecord) -> str:
    more = getattr(record, "more", 0)
    return _on_one_line(record.getMessage()) + (f" ({more} more like it before)" if more else "")


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
