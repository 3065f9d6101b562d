"""The metric record of an attempt: one line per logged step, written about once a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from orchestrator.contract import Record, Store, StreamWriter

FLUSH_SECONDS = 1.0


class MetricRecord:
    """Appends records to the attempt's `metrics` stream. Storage that is away delays, and never stops,
    training: what could not be written is tried again a second later, and must be there at a commit."""

    def __init__(self, run: Store, attempt: int) -> None:
        self._writer = StreamWriter(run, attempt, "metrics")
        self._flushed = time.monotonic()

    @property
    def length(self) -> int:
        """Bytes appended so far."""
        return self._writer.length

    def start(self, step: int, values: Mapping[str, float]) -> None:
        self._writer.append(Record("start", step, time.time(), values).to_line())
        self.flush()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._writer.append(Record("metrics", step, time.time(), values).to_line())
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self._try_flush()

    def checkpoint(self, step: int, values: Mapping[str, float]) -> None:
        self._writer.append(Record("checkpoint", step, time.time(), values).to_line())

    def flush(self) -> None:
        """Raises OSError when storage cannot be written."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except OSError as error:
            self._flushed = time.monotonic()
            print(f"the metric record cannot be written now: {error}", flush=True)


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """The numeric values of one log call; true and false are no figures."""
    return {
        key: value
        for key, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
