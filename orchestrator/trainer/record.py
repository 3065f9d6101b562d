"""The metric record of an attempt: one line per logged step, in storage about a second later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from orchestrator.contract import Record, Store, StreamWriter
from orchestrator.trainer.report import Reports

FLUSH_SECONDS = 1.0


class MetricRecord:
    """Appends records to the attempt's `metrics` stream.

    A thread writes them, since a durable write takes longer than a small step. Storage that is away
    delays the record and never stops training; at a commit it must be there (`flush`). What storage has is
    what `reports`, where there are any, tell the service.
    """

    def __init__(self, run: Store, attempt: int, reports: Reports | None = None) -> None:
        self._writer = StreamWriter(run, attempt, "metrics")
        self._reports = reports
        self._pending: deque[bytes] = deque()
        self._untold = bytearray()
        self._writing = threading.Lock()
        self.length = 0  # bytes appended so far

    def start(self, step: int, values: Mapping[str, float]) -> None:
        """The first line; from here on what is appended is written about once a second."""
        self._append(Record("start", step, time.time(), values))
        threading.Thread(target=self._keep_writing, daemon=True).start()
        if self._reports:
            self._reports.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._append(Record("metrics", step, time.time(), values))

    def checkpoint(self, step: int, values: Mapping[str, float]) -> None:
        self._append(Record("checkpoint", step, time.time(), values))

    def flush(self) -> None:
        """Write everything appended so far. Raises OSError when storage cannot be written."""
        with self._writing:
            while self._pending:
                line = self._pending.popleft()
                self._writer.append(line)
                self._untold += line
            self._writer.flush()
            if self._reports and self._untold:
                self._reports.tell(bytes(self._untold))
            self._untold.clear()

    def _append(self, record: Record) -> None:
        line = record.to_line()
        self.length += len(line)
        self._pending.append(line)

    def _keep_writing(self) -> None:
        away = False
        while True:
            try:
                self.flush()
                away = False
            except OSError as error:
                if not away:
                    print(f"the metric record cannot be written now: {error}", flush=True)
                away = True
            time.sleep(FLUSH_SECONDS)


class Silence(MetricRecord):
    """What the other ranks write to: one run has one record, and rank 0 writes it."""

    def __init__(self) -> None:
        self.length = 0

    def start(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing is written."""

    def flush(self) -> None:
        """Nothing is waiting."""

    def _append(self, record: Record) -> None:
        """Nothing is kept."""


def numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """The numeric values of one log call; true and false are no figures."""
    return {
        key: value
        for key, value in logs.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
