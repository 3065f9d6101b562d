"""What is said of a service that is waited for."""

from __future__ import annotations

import time

from orchestrator.cli.output import note
from orchestrator.cli.units import duration

QUIET_SECONDS = 1.0  # a restart of a moment needs no line


class Absence:
    """Says once that the service is waited for, and once that it answers again."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._said = False

    def __call__(self, why: str | None) -> None:
        """Hear what a client waits for, and that it waits no longer."""
        if why is None:
            if self._said and self._began is not None:
                note(f"it answers again, after {duration(time.monotonic() - self._began)}")
            self._began, self._said = None, False
            return
        self._began = time.monotonic() if self._began is None else self._began
        if not self._said and time.monotonic() - self._began >= QUIET_SECONDS:
            self._said = True
            note(f"{why}; waiting for it")
